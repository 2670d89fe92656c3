//! API keys.

use imagine_store::{KeyId, Priority};

use crate::support::{Place, both};

both!(found_by_the_secret_alone, a_key_has_its_highest_class);

async fn found_by_the_secret_alone(place: Place) {
    let store = place.open().await;
    let (first, second) =
        (store.add_key("anna", "phone").await.unwrap(), store.add_key("bea", "").await.unwrap());
    assert!(first.secret.starts_with("imk_") && first.secret.len() == 47);
    assert_ne!(first.secret, second.secret);
    assert!(!format!("{first:?}").contains(&first.secret));
    let found = store.find_key(&first.secret).await.unwrap().unwrap();
    assert_eq!((found.id, found.tenant.as_str(), found.name.as_str()), (first.key.id, "anna", "phone"));
    // The same beginning, by which the row is found, and another end.
    let mut other = first.secret.clone();
    let end = if other.ends_with('A') { "B" } else { "A" };
    other.replace_range(46.., end);
    for wrong in
        ["", "imk_", &first.secret[..46], &other, &format!("{}é", &first.secret[..45]), &"x".repeat(47)]
    {
        assert!(store.find_key(wrong).await.unwrap().is_none(), "{wrong}");
    }
    assert_eq!(store.keys(Some("anna")).await.unwrap().len(), 1);
    assert!(store.keys(None).await.unwrap()[0].used.is_some());
    assert!(store.revoke_key(first.key.id).await.unwrap());
    assert!(!store.revoke_key(first.key.id).await.unwrap());
    assert!(store.find_key(&first.secret).await.unwrap().is_none());
    assert!(store.find_key(&second.secret).await.unwrap().is_some());
}

async fn a_key_has_its_highest_class(place: Place) {
    let store = place.open().await;
    let made = store.add_key("anna", "phone").await.unwrap();
    assert_eq!(made.key.highest, Priority::Normal);
    for highest in Priority::ALL {
        assert!(store.set_key_priority(made.key.id, highest).await.unwrap());
        assert_eq!(store.find_key(&made.secret).await.unwrap().unwrap().highest, highest);
    }
    assert!(!store.set_key_priority(KeyId::new(), Priority::High).await.unwrap());
}
