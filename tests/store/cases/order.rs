//! In which order jobs are leased.

use aint_queue::job::Meta;
use aint_queue::store::{Place, State};

use crate::harness::{World, end};

pub async fn first_in_first_out(world: World) {
    let ids = world.push(50).await;
    assert!(ids.is_sorted());
    assert_eq!(world.ids(State::Waiting).await, ids);

    let mut master = world.master().await;
    master.lease_exactly(&ids[..20]).await;
    let more = world.push(5).await;
    master.lease_exactly(&ids[20..]).await;
    master.lease_exactly(&more).await;
    assert!(master.lease(1).await.is_empty());
    assert_eq!(world.counts().await, [0, 55, 0, 0, 0, 0]);
}

pub async fn front_comes_before_everything_and_back_after_it(world: World) {
    let ids = world.push(6).await;
    let mut master = world.master().await;
    let leased = master.lease(4).await;
    let to: [fn(Meta) -> Place; 4] = [Place::Front, Place::Back, Place::Front, Place::Back];
    let ends: Vec<_> = leased.iter().zip(to).map(|(record, to)| end(record, to)).collect();
    assert_eq!(master.settle(&ends).await, []);

    // Those of one batch that go to the front keep their order there.
    let order = [ids[0], ids[2], ids[4], ids[5], ids[1], ids[3]];
    assert_eq!(world.ids(State::Waiting).await, order);
    master.lease_exactly(&order).await;
}
