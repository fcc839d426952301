//! The exchange of the authority: no call fails in it.

use openarchive_operator_pki::{
    Action, CA_YEARS, Cause, Phase, SECRETS_LOADED_SECONDS_MIN, Transition, Waiting, Why,
};
use openarchive_rpc::Role;
use proptest::{
    prelude::*,
    test_runner::{Config, RngSeed},
};

use crate::{
    verifier::{Believed, Shown},
    world::{DAY, Damage, LAG_MAX, MINUTE, World, after},
};

const ROLES: [Role; 4] = [Role::Trust, Role::Storage, Role::Ingest, Role::Operator];
const SETTLE: i64 = SECRETS_LOADED_SECONDS_MIN as i64 * 1000;

#[derive(Debug, Clone)]
enum Event {
    /// A pass that dies after so many writes, time, and the lag of processes meanwhile.
    Pass {
        writes: usize,
        millis: i64,
        lag: i64,
    },
    /// A person asks for another authority.
    Request,
    Damage {
        role: usize,
        damage: Damage,
    },
    TrustRestart,
}

fn event() -> impl Strategy<Value = Event> {
    let millis = prop_oneof![0..30 * MINUTE, 0..6 * DAY];
    let damage = prop_oneof![
        Just(Damage::Deleted),
        Just(Damage::NoKey),
        Just(Damage::HalfACertificate),
        Just(Damage::ForeignKey)
    ];
    prop_oneof![
        12 => (0..8_usize, millis, 0..=LAG_MAX).prop_map(|(writes, millis, lag)| Event::Pass { writes, millis, lag }),
        1 => Just(Event::Request),
        1 => (0..ROLES.len(), damage).prop_map(|(role, damage)| Event::Damage { role, damage }),
        2 => Just(Event::TrustRestart),
    ]
}

proptest! {
    #![proptest_config(Config {
        rng_seed: RngSeed::Fixed(20_261_121),
        failure_persistence: None,
        ..Config::with_cases(8)
    })]

    #[test]
    fn at_every_moment_everybody_lets_everybody_in_wherever_the_operator_dies(
        events in proptest::collection::vec(event(), 40..120),
    ) {
        let mut world = World::started(&ROLES);
        let mut requests = 0;
        for (number, event) in events.iter().enumerate() {
            match event {
                Event::Pass { writes, millis, lag } => {
                    world.lag = *lag;
                    world.pass(*writes);
                    world.advance(*millis);
                }
                Event::Request => {
                    requests += 1;
                    world.request = Some(format!("request {requests}"));
                }
                Event::Damage { role, damage } => world.damage(ROLES[*role].name(), *damage),
                Event::TrustRestart => world.restart_trust(),
            }
            // An operator that is never up for weeks renews nothing; no promise covers that.
            if number % 3 == 2 {
                world.whole_pass();
                prop_assert!(world.plan().actions.is_empty(), "a second pass writes nothing");
            }
        }
        // Whatever came before, an operator that stays up brings every exchange to its end.
        for _ in 0..60 {
            world.whole_pass();
            world.restart_trust();
            world.advance(5 * DAY);
        }
        world.whole_pass();
        prop_assert_eq!(world.phase(), Phase::Stable);
        let begun = world.transitions.iter().filter(|one| matches!(one, Transition::Begin(_))).count();
        let ended = world.transitions.iter().filter(|one| **one == Transition::Finish).count();
        prop_assert_eq!(begun, ended);
        prop_assert_eq!(begun > 0, requests > 0);
    }
}

#[test]
fn in_twenty_five_years_the_authority_is_exchanged_by_age_and_no_call_fails() {
    let mut world = World::started(&[Role::Trust, Role::Ingest]);
    let end = after(world.now, 25 * 365 * DAY);
    while world.now < end {
        world.whole_pass();
        world.restart_trust();
        let next = world.plan().look_again_at;
        assert!(next > world.now, "nothing is left to do now");
        let millis = next.as_millis() - world.now.as_millis();
        world.advance(millis.min(10 * DAY));
    }
    let begun = world.transitions.iter().filter(|one| **one == Transition::Begin(Cause::Age)).count();
    // Two thirds of its life and up to a twentieth more.
    assert_eq!(begun, 3, "{CA_YEARS} years make 6.7 to 7.2 between two: {:?}", world.transitions);
    assert!(world.transitions.contains(&Transition::CrossEnded), "{:?}", world.transitions);
}

#[test]
fn each_step_waits_for_what_it_must_and_no_longer() {
    let mut world = World::started(&ROLES);
    world.request = Some("now".to_owned());
    let step = |world: &mut World, transitions: &[Transition], phase: Phase| {
        let before = world.transitions.len();
        world.whole_pass();
        assert_eq!(&world.transitions[before..], transitions);
        assert_eq!(world.phase(), phase);
    };
    step(&mut world, &[Transition::Begin(Cause::Request), Transition::Settled], Phase::TrustNew);
    let until = after(world.now, SETTLE);
    assert_eq!(world.plan().waiting, Some(Waiting::FilesRead { until }));
    assert_eq!(world.plan().look_again_at, until);
    world.advance(SETTLE - 1);
    step(&mut world, &[], Phase::TrustNew);
    world.advance(1);
    step(&mut world, &[Transition::ReIssue, Transition::Settled], Phase::ReIssue);
    world.advance(SETTLE);
    assert_eq!(world.plan().waiting, Some(Waiting::TrustRestart));
    world.advance(DAY);
    world.restart_trust();
    let until = after(world.now, 90 * DAY);
    assert_eq!(world.plan().waiting, Some(Waiting::AgentsRenew { until }));
    for _ in 0..9 {
        world.whole_pass();
        world.advance(10 * DAY - 1);
    }
    step(&mut world, &[], Phase::ReIssue);
    world.advance(9);
    step(&mut world, &[Transition::DropOld, Transition::Settled], Phase::DropOld);
    world.advance(SETTLE);
    step(&mut world, &[Transition::Finish], Phase::Stable);
    step(&mut world, &[], Phase::Stable);
}

#[test]
fn a_secret_that_is_damaged_in_a_step_is_made_good_and_waited_for_again() {
    let mut world = World::started(&ROLES);
    world.request = Some("now".to_owned());
    world.whole_pass();
    world.advance(SETTLE / 2);
    world.damage("storage", Damage::NoKey);
    assert_eq!(world.plan().actions, [Action::Authority(Transition::Unsettled)]);
    world.pass(1);
    let [Action::Issue { why: Why::Incomplete, .. }] = world.plan().actions[..] else {
        panic!("{:?}", world.plan())
    };
    world.whole_pass();
    world.advance(SETTLE / 2);
    world.whole_pass();
    assert_eq!(world.phase(), Phase::TrustNew, "half of the time is not enough for who had to be mended");
    world.advance(SETTLE / 2);
    world.whole_pass();
    assert_eq!(world.phase(), Phase::ReIssue);
}

#[test]
fn a_request_is_taken_up_once_and_one_that_comes_meanwhile_afterwards() {
    let begun = |world: &World| {
        world.transitions.iter().filter(|one| **one == Transition::Begin(Cause::Request)).count()
    };
    let on = |world: &mut World| {
        for _ in 0..60 {
            world.whole_pass();
            world.restart_trust();
            world.advance(5 * DAY);
        }
        assert_eq!(world.phase(), Phase::Stable);
    };
    let mut world = World::started(&ROLES);
    world.request = Some("one".to_owned());
    world.whole_pass();
    world.whole_pass();
    assert_eq!(begun(&world), 1);
    on(&mut world);
    assert_eq!(begun(&world), 1);
    world.request = None;
    on(&mut world);
    world.request = Some("one".to_owned());
    on(&mut world);
    assert_eq!(begun(&world), 1, "the same request is not heard twice");
    world.request = Some("two".to_owned());
    world.whole_pass();
    world.request = Some("three".to_owned());
    on(&mut world);
    assert_eq!(begun(&world), 3);
}

#[test]
fn an_authority_that_ended_while_nobody_looked_is_exchanged_without_waiting() {
    let mut world = World::started(&ROLES);
    world.now = after(world.now, 365 * DAY * i64::from(CA_YEARS));
    world.whole_pass();
    // One that has ended is not waited for; the last step is, for the new one lives.
    assert_eq!(world.phase(), Phase::ReIssue);
    world.restart_trust();
    world.advance_unchecked(LAG_MAX);
    world.forget_agents();
    world.check();
    world.advance(SETTLE);
    world.whole_pass();
    world.advance(SETTLE);
    world.whole_pass();
    assert_eq!(world.phase(), Phase::Stable);
}

#[test]
fn who_is_two_steps_behind_is_refused_which_is_what_the_waiting_is_for() {
    let mut world = World::started(&ROLES);
    let old = world.found.leaves["storage"].clone();
    world.request = Some("now".to_owned());
    world.whole_pass();
    world.advance(SETTLE);
    world.whole_pass();
    let new = &world.found.leaves["trust"];
    let refused = Believed::of_secret(&old).client(&Shown::of_secret(new).alone(), world.now);
    assert!(refused.is_err(), "without the word of the old authority nobody believes the new one");
    let refused = Believed::of_pem(world.state().issuing().certificate().pem().as_bytes())
        .client(&Shown::of_secret(&old), world.now);
    assert!(refused.is_err(), "who has dropped the old authority does not believe it");
}
