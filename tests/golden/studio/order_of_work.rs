//! Who is drawn when; what is told on the way; how it ends.

use std::sync::mpsc;

use imagine_contract::{
    CancelFlag, EngineError, Event, GenerateRequest, Identity, Order, OrderEvent, Studio, SubmitError,
};
use imagine_pipeline::{BatchStudio, StudioOptions};

use super::{Held, PICTURE, model, request, submit};

fn several(count: u32, seed: u64) -> GenerateRequest {
    GenerateRequest { count, ..request("a portrait", seed, 2) }
}

fn order(request: GenerateRequest, owner: &str, events: impl FnMut(OrderEvent) + Send + 'static) -> Order {
    Order {
        request,
        owner: owner.into(),
        previews_every: None,
        cancel: CancelFlag::default(),
        events: Box::new(events),
    }
}

#[test]
fn owners_take_turns() {
    let held = Held::new(model(), 1);
    let (sender, finished) = mpsc::channel();
    let submit = |owner: &str, count, seed| {
        let sender = sender.clone();
        let hear = move |event| {
            if let OrderEvent::Happened(Event::Finished { picture, .. }) = event {
                sender.send(picture.seed).expect("the test listens");
            }
        };
        held.studio.submit(order(several(count, seed), owner, hear)).expect("there is room");
    };
    submit("anna", 3, 100);
    held.wait_for_first_call();
    submit("anna", 1, 200);
    submit("ben", 2, 300);
    submit("cleo", 1, 400);
    held.open();
    drop(sender);
    held.studio.finish();
    let seeds: Vec<u64> = finished.iter().collect();
    // Anna has had one when the others come.
    assert_eq!(seeds, [100, 101, 300, 400, 102, 301, 200]);
}

#[test]
fn canceled_orders_leave_and_the_others_go_on() {
    let held = Held::new(model(), 2);
    let first = held.submit(&request("a portrait", 1, 6));
    let second = held.submit(&request("a forest", 2, 6));
    held.wait_for_first_call();
    let waiting = held.submit(&request("a hat", 3, 6));
    waiting.cancel.cancel();
    first.cancel.cancel();
    held.open();
    let (first, waiting) = (first.wait(), waiting.wait());
    assert!(matches!(first.failed, Some(EngineError::Canceled)));
    assert!(matches!(waiting.failed, Some(EngineError::Canceled)));
    assert!(first.progress.len() <= 1, "{:?}", first.progress);
    assert_eq!((waiting.progress.len(), waiting.pictures.len()), (0, 0));
    assert_eq!(second.pictures().len(), 1);
}

#[test]
fn a_full_queue_takes_no_more() {
    let options = StudioOptions { queue: 2, cells: Some(PICTURE), ..StudioOptions::default() };
    let held = Held::with(model(), options, |_| ());
    let drawn = held.submit(&several(1, 1));
    held.wait_for_first_call();
    let waiting = [held.submit(&several(1, 2)), held.submit(&several(1, 3))];
    let refused = held.studio.submit(order(several(1, 4), "somebody", |_| ()));
    assert!(matches!(refused, Err(SubmitError::Full { queued: 2 })), "{refused:?}");
    let load = held.studio.load();
    assert_eq!((load.queued, load.rows, load.most_rows, load.healthy), (2, 1, 1, true));
    held.open();
    for ticket in waiting.iter().chain([&drawn]) {
        assert_eq!(ticket.pictures().len(), 1);
    }
    let again = submit(&held.studio, &several(1, 5), "somebody", None);
    assert_eq!(again.pictures().len(), 1);
}

#[test]
fn what_cannot_be_drawn_is_refused_at_once() {
    let held = Held::new(model(), 1);
    let refused = |request: GenerateRequest| {
        held.studio.submit(order(request, "somebody", |_| ())).expect_err("must be refused")
    };
    assert!(matches!(refused(several(0, 1)), SubmitError::Request(_)));
    let magic = GenerateRequest { scheduler: Some("magic".into()), ..several(1, 1) };
    assert!(matches!(refused(magic), SubmitError::Unsupported(reason) if reason.contains("magic")));
    // What only the networks know fails the order, and no other.
    let narrow = vec![Identity::of_embedding(vec![0.5; 3], 1.0)];
    let ticket = held.submit(&GenerateRequest { people: narrow, ..several(1, 1) });
    let failed = ticket.wait().failed;
    assert!(
        matches!(&failed, Some(EngineError::Unsupported(reason)) if reason.contains("128")),
        "{failed:?}"
    );
    let good = held.submit(&several(1, 1));
    held.open();
    assert_eq!(good.pictures().len(), 1);
}

#[test]
fn progress_and_previews_come_on_the_way() {
    let held = Held::new(model(), 4);
    let wide = GenerateRequest { width: Some(512), height: Some(256), ..request("a forest", 3, 3) };
    let wide = submit(&held.studio, &wide, "somebody", Some(2));
    let none = submit(&held.studio, &several(1, 9), "somebody", Some(0));
    let two = GenerateRequest { count: 2, ..request("a portrait", 1, 6) };
    let two = submit(&held.studio, &two, "somebody", Some(2));
    held.open();
    let two = two.wait();
    assert_eq!(two.progress, [2, 4, 6, 8, 10, 12]);
    // None after the last step: the picture follows.
    let seen: Vec<_> =
        two.previews.iter().map(|(index, step, p)| (*index, *step, p.width, p.height)).collect();
    assert_eq!(seen, [(0, 2, 32, 32), (1, 2, 32, 32), (0, 4, 32, 32), (1, 4, 32, 32)]);
    assert!(two.previews.iter().all(|(_, _, pixels)| pixels.is_whole()));
    let wide: Vec<_> = wide.wait().previews.iter().map(|(_, step, p)| (*step, p.width, p.height)).collect();
    assert_eq!(wide, [(2, 256, 128)]);
    assert!(none.wait().previews.is_empty());
}

#[test]
fn closing_draws_what_was_taken_and_dropping_does_not() {
    let held = Held::new(model(), 1);
    let taken = [held.submit(&several(1, 1)), held.submit(&several(2, 2))];
    held.wait_for_first_call();
    held.studio.close();
    let refused = held.studio.submit(order(several(1, 3), "somebody", |_| ()));
    assert!(matches!(refused, Err(SubmitError::Closed(_))), "{refused:?}");
    held.open();
    held.studio.finish();
    assert_eq!((taken[0].pictures().len(), taken[1].pictures().len()), (1, 2));

    let held = Held::new(model(), 1);
    let taken = [held.submit(&several(1, 1)), held.submit(&several(2, 2))];
    held.wait_for_first_call();
    held.studio.stop();
    held.open();
    drop(held);
    for ticket in taken {
        let outcome = ticket.wait();
        assert!(matches!(&outcome.failed, Some(EngineError::Failed(reason)) if reason.contains("closing")));
        assert!(outcome.progress.len() <= 2, "{:?}", outcome.progress);
    }
}

#[test]
fn a_listener_that_panics_harms_nobody() {
    let studio = BatchStudio::open(model(), StudioOptions::default()).expect("a thread");
    let deaf = order(several(1, 1), "a", |_| panic!("a listener's own fault"));
    studio.submit(deaf).expect("there is room");
    assert_eq!(submit(&studio, &several(2, 2), "b", None).pictures().len(), 2);
    assert!(studio.load().healthy);
}
