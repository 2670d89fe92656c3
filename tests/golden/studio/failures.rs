//! What goes wrong in a call of the U-Net. On a CPU a call is made to fail by its observer, whose panics take
//! the way of the call's own.

use imagine_contract::{EngineError, GenerateRequest, Order, Studio, SubmitError};
use imagine_pipeline::StudioOptions;

use super::{Held, PICTURE, assert_same, model, request};
use crate::picture_runs::generate;

fn options() -> StudioOptions {
    StudioOptions { cells: Some(100 * PICTURE), ..StudioOptions::default() }
}

#[test]
fn memory_that_runs_out_halves_the_batch() {
    let five = GenerateRequest { count: 5, ..request("a portrait", 1, 3) };
    let alone = generate(&mut model(), &five);
    let held = Held::with(model(), options(), |calls| {
        if calls.last().is_some_and(|&pictures| pictures > 2) {
            panic!("CUDA out of memory. Tried to allocate 20.00 GiB");
        }
    });
    let ticket = held.submit(&five);
    held.open();
    assert_same("five", &ticket.pictures(), &alone);
    let calls = held.calls();
    let tried: Vec<usize> = calls.iter().copied().filter(|&pictures| pictures > 2).collect();
    // 5, then 3 and 2: never again as many.
    assert_eq!(tried, [5, 3], "{calls:?}");
    assert_eq!(calls.iter().filter(|&&pictures| pictures <= 2).sum::<usize>(), 5 * 3, "{calls:?}");
}

#[test]
fn memory_that_does_not_suffice_for_one_fails_that_order() {
    let held = Held::with(model(), options(), |calls| {
        if calls.len() == 1 {
            panic!("[enforce fail] DefaultCPUAllocator: can't allocate memory");
        }
    });
    let large = held.submit(&request("a portrait", 1, 3));
    held.wait_for_first_call();
    let small = held.submit(&request("a forest", 2, 3));
    held.open();
    let failed = large.wait().failed;
    assert!(matches!(&failed, Some(EngineError::OutOfMemory(text)) if text.contains("memory")), "{failed:?}");
    assert_eq!(small.pictures().len(), 1);
    assert!(held.studio.load().healthy);
}

#[test]
fn a_panic_fails_the_order_at_fault_alone() {
    let good = request("a forest", 2, 4);
    let alone = generate(&mut model(), &good);
    // Both go in the second call, which fails; then the first of them alone fails again.
    let held = Held::with(model(), options(), |calls| {
        if matches!(calls, [1, 2] | [1, 2, 1]) {
            panic!("the size of tensor a must match the size of tensor b");
        }
    });
    let bad = held.submit(&request("a portrait", 1, 4));
    held.wait_for_first_call();
    let ticket = held.submit(&good);
    held.open();
    let failed = bad.wait();
    assert!(matches!(&failed.failed, Some(EngineError::Failed(text)) if text.contains("tensor a")));
    assert_eq!(failed.progress, [1]);
    assert_same("the other", &ticket.pictures(), &alone);
    let later = held.submit(&good);
    assert_same("later", &later.pictures(), &alone);
}

#[test]
fn a_lost_device_ends_the_studio() {
    let held = Held::with(model(), options(), |calls| {
        if calls.len() == 2 {
            panic!("CUDA error: an illegal memory access was encountered");
        }
    });
    let tickets = [held.submit(&request("a portrait", 1, 4)), held.submit(&request("a forest", 2, 4))];
    held.open();
    for ticket in &tickets {
        let failed = ticket.wait().failed;
        assert!(matches!(&failed, Some(EngineError::Failed(text)) if text.contains("illegal")), "{failed:?}");
    }
    // The thread says so just after its orders have been told.
    while held.studio.load().healthy {
        std::thread::yield_now();
    }
    let order = Order {
        request: request("a hat", 3, 4),
        owner: "somebody".into(),
        previews_every: None,
        cancel: Default::default(),
        events: Box::new(|_| ()),
    };
    let refused = held.studio.submit(order);
    assert!(matches!(&refused, Err(SubmitError::Closed(text)) if text.contains("illegal")), "{refused:?}");
}
