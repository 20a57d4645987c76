//! Ids of a consumer's own tables.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Text;

use crate::support::World;

sesari_db::typed_id! {
    /// Identifies an invoice.
    pub InvoiceId = "invoice";
    /// Identifies a customer.
    CustomerId = "customer";
}

#[test]
fn an_id_of_ones_own_is_held_to_the_rule_of_ours() {
    let huge = "a".repeat(33);
    for bad in ["", "a", "A1", "1a", "a-b", "../x", "a\0b", "é1", &huge] {
        assert_eq!(bad.parse::<InvoiceId>().unwrap_err().entity(), "invoice");
        assert!(InvoiceId::try_from(bad.to_owned()).is_err());
        let json = serde_json::to_string(bad).unwrap();
        assert!(serde_json::from_str::<InvoiceId>(&json).is_err(), "{bad}");
    }
    let id = InvoiceId::generate();
    assert_ne!(id, InvoiceId::generate());
    assert_eq!(
        (format!("{id:?}"), id.to_string()),
        (format!("InvoiceId({id})"), String::from(id.clone()))
    );
    let json = serde_json::to_string(&id).unwrap();
    assert_eq!(serde_json::from_str::<InvoiceId>(&json).unwrap(), id);
    assert_eq!(CustomerId::ENTITY, "customer");
}

#[test]
fn an_id_of_ones_own_is_bound_and_read_and_refused_when_stored_malformed() {
    let world = World::shared();
    let mut tenant = world.db.tenant(&world.a.member, &world.a.workspace).unwrap();
    let id = InvoiceId::generate();
    let conn = tenant.connection();
    let read: InvoiceId =
        diesel::select(sql::<Text>("").bind::<Text, _>(&id)).get_result(conn).unwrap();
    assert_eq!(read, id);
    diesel::select(sql::<Text>("'no id'")).get_result::<InvoiceId>(conn).unwrap_err();
}
