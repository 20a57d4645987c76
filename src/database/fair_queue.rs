//! Who gets a connection next: fair turns for each actor and each workspace, a bounded queue, and an end.
//!
//! One queue stands before each pool and admits as many callers as the pool has connections, so that
//! callers queue here rather than inside the pool. The same queue serves threads and futures: a waiter is
//! a waker.
//!
//! A caller has two usages, its actor and its workspace. Which workspace is *asked for* says nothing
//! about membership, so neither alone is enough: whoever asks for many workspaces queues behind itself as
//! an actor, and a workspace with many actors behind itself as a workspace. Each usage counts what it was
//! served; of those who may be admitted, the one whose more served usage was served least is next, and
//! of equals the first come (start-time fair queueing, Goyal, Vin and Cheng, 1996, with the larger of two
//! tags). A full queue turns away the newest caller of the actor who waits most often, not the one who
//! comes next, so that a flood displaces itself.
//!
//! Users outside of any workspace take turns as actors, and have the share of one workspace together.
//!
//! Guarded by the tests below and by `tests/connections/units/sharing.rs`.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use crate::error::{Error, QueueBound, Result};
use crate::id::WorkspaceId;
use crate::tenancy::Actor;

/// On whose behalf a connection is used.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct QueueKey {
    pub(crate) actor: Actor,
    pub(crate) workspace: Option<WorkspaceId>,
}

impl QueueKey {
    /// A service outside of any workspace.
    fn is_service(&self) -> bool {
        self.workspace.is_none() && matches!(self.actor, Actor::Service(_))
    }
}

/// How many may be active and how many may wait: in all, for one workspace or the users outside of any,
/// and for one actor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) connections: usize,
    pub(crate) connections_each: usize,
    pub(crate) connections_actor: usize,
    pub(crate) queue: usize,
    pub(crate) queue_each: usize,
    pub(crate) queue_actor: usize,
}

/// How many use a connection, and how many wait for one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct QueueStats {
    pub(crate) active: usize,
    pub(crate) waiting: usize,
}

#[derive(Clone)]
pub(crate) struct FairQueue(Arc<Inner>);

struct Inner {
    name: &'static str,
    limits: Limits,
    state: Mutex<State>,
    /// Told when the last active one leaves.
    empty: Condvar,
}

#[derive(Default)]
struct State {
    stats: QueueStats,
    /// None is kept of whom nobody is active or waiting.
    actors: HashMap<Actor, Usage>,
    /// Those outside of any workspace are one.
    workspaces: HashMap<Option<WorkspaceId>, Usage>,
    /// Those who wait, in the order in which they came.
    waiting: VecDeque<(QueueKey, Arc<Waiter>)>,
    /// What the one admitted last had been served: where a new usage starts.
    clock: u64,
    closed: bool,
}

#[derive(Default, Clone, Copy)]
struct Usage {
    active: usize,
    waiting: usize,
    served: u64,
}

struct Waiter(Mutex<Answer>);

enum Answer {
    None(Option<Waker>),
    Admitted,
    Displaced,
    Closed,
}

impl FairQueue {
    pub(crate) fn new(name: &'static str, limits: Limits) -> Self {
        let state = Mutex::default();
        Self(Arc::new(Inner { name, limits, state, empty: Condvar::new() }))
    }

    /// Asks to be admitted.
    pub(crate) fn ask(&self, key: QueueKey) -> Result<Admission> {
        let (asked, displaced, stats) = {
            let mut state = self.0.lock();
            let asked = state.ask(&key, self.0.limits);
            let (asked, displaced) = match asked {
                Asked::Admitted => (Ok(None), None),
                Asked::Waits(waiter, displaced) => (Ok(Some(waiter)), displaced),
                Asked::Refused(error) => (Err(error), None),
            };
            (asked, displaced, state.stats)
        };
        if displaced.is_some() || matches!(asked, Err(Error::Overloaded { .. })) {
            crate::observe::overloaded(self.0.name);
        }
        if let Some(displaced) = displaced {
            displaced.answer(Answer::Displaced);
        }
        let waiter = asked?;
        self.0.show(stats);
        let permit = waiter.is_none().then(|| Permit { queue: self.clone(), key: key.clone() });
        Ok(Admission { queue: self.clone(), key, waiter, permit })
    }

    pub(crate) fn name(&self) -> &'static str {
        self.0.name
    }

    pub(crate) fn stats(&self) -> QueueStats {
        self.0.lock().stats
    }

    /// Admits nobody any more, and turns away those who wait.
    pub(crate) fn close(&self) {
        let turned_away = {
            let mut state = self.0.lock();
            state.closed = true;
            std::iter::from_fn(|| state.take(0)).collect::<Vec<_>>()
        };
        for waiter in turned_away {
            waiter.answer(Answer::Closed);
        }
        self.0.show(self.stats());
    }

    /// Waits for the last active one to leave. Returns how many are still active.
    pub(crate) fn drain(&self, until: Instant) -> usize {
        let mut state = self.0.lock();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if state.stats.active == 0 || left.is_zero() {
                return state.stats.active;
            }
            let waited = self.0.empty.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn leave(&self, key: &QueueKey) {
        let stats = {
            let mut state = self.0.lock();
            state.stats.active -= 1;
            state.catch_up(key, |usage, share| usage.active == share, self.0.limits);
            state.change(key, |usage| usage.active -= 1);
            state.admit(self.0.limits);
            if state.stats.active == 0 {
                self.0.empty.notify_all();
            }
            state.stats
        };
        self.0.show(stats);
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, stats: QueueStats) {
        crate::observe::pool(self.name, self.limits.connections, stats.active, stats.waiting);
    }
}

/// What became of one who asked.
enum Asked {
    Admitted,
    /// In the place of another, where the queue was full.
    Waits(Arc<Waiter>, Option<Arc<Waiter>>),
    Refused(Error),
}

impl State {
    fn ask(&mut self, key: &QueueKey, limits: Limits) -> Asked {
        if self.closed {
            return Asked::Refused(Error::ShuttingDown);
        }
        self.catch_up(key, |usage, _| usage.waiting == 0, limits);
        // Whoever waits and could be admitted has been, so nobody is overtaken here.
        if self.stats.active < limits.connections && self.may_be_active(key, limits) {
            self.activate(key);
            return Asked::Admitted;
        }
        let of_actor = self.actors.get(&key.actor).map_or(0, |usage| usage.waiting);
        let of_workspace = self.workspaces.get(&key.workspace).map_or(0, |usage| usage.waiting);
        let refused = |bound| Asked::Refused(Error::Overloaded { bound });
        let mut displaced = None;
        if of_actor >= limits.queue_actor {
            return refused(QueueBound::Actor);
        } else if !key.is_service() && of_workspace >= limits.queue_each {
            displaced = self.displace(of_actor, |other| other.workspace == key.workspace);
            if displaced.is_none() {
                let of_users = key.workspace.is_none();
                return refused(if of_users { QueueBound::Users } else { QueueBound::Workspace });
            }
        } else if self.stats.waiting >= limits.queue {
            displaced = self.displace(of_actor, |_| true);
            if displaced.is_none() {
                return refused(QueueBound::Queue);
            }
        }
        let waiter = Arc::new(Waiter(Mutex::new(Answer::None(None))));
        self.waiting.push_back((key.clone(), waiter.clone()));
        self.stats.waiting += 1;
        self.change(key, |usage| usage.waiting += 1);
        Asked::Waits(waiter, displaced)
    }

    /// Takes the newest one, of those asked about, whose actor waits most often out of the queue; none
    /// where that is not more often than the actor who asks would.
    fn displace(
        &mut self,
        of_actor: usize,
        is_asked: impl Fn(&QueueKey) -> bool,
    ) -> Option<Arc<Waiter>> {
        let place =
            (0..self.waiting.len()).filter(|place| is_asked(&self.waiting[*place].0)).max_by_key(
                |place| self.actors.get(&self.waiting[*place].0.actor).map(|a| a.waiting),
            )?;
        let most = self.actors.get(&self.waiting[place].0.actor)?.waiting;
        if most <= of_actor + 1 {
            return None;
        }
        self.take(place)
    }

    /// Admits those who wait, while there is room, each the one who was served least.
    fn admit(&mut self, limits: Limits) {
        while self.stats.active < limits.connections {
            let next = (0..self.waiting.len())
                .filter(|place| self.may_be_active(&self.waiting[*place].0, limits))
                .min_by_key(|place| self.turn(&self.waiting[*place].0));
            let Some(place) = next else { break };
            let key = self.waiting[place].0.clone();
            let Some(waiter) = self.take(place) else { break };
            self.activate(&key);
            waiter.answer(Answer::Admitted);
        }
    }

    fn take(&mut self, place: usize) -> Option<Arc<Waiter>> {
        let (key, waiter) = self.waiting.remove(place)?;
        self.stats.waiting -= 1;
        self.change(&key, |usage| usage.waiting -= 1);
        Some(waiter)
    }

    fn activate(&mut self, key: &QueueKey) {
        // A usage that is new starts where the others are, and not with what they had before.
        self.clock = self.clock.max(self.turn(key).0);
        self.stats.active += 1;
        self.change(key, |usage| {
            usage.active += 1;
            usage.served += 1;
        });
    }

    fn may_be_active(&self, key: &QueueKey, limits: Limits) -> bool {
        let active = |usage: Option<&Usage>| usage.map_or(0, |usage| usage.active);
        // The services' pool is for services alone, whose names are the operator's.
        key.is_service()
            || active(self.actors.get(&key.actor)) < limits.connections_actor
                && active(self.workspaces.get(&key.workspace)) < limits.connections_each
    }

    /// What decides whose turn it is, the least first: what the more served usage was served; of equals,
    /// what the actor was; and then what the workspace was.
    fn turn(&self, key: &QueueKey) -> (u64, u64, u64) {
        let served = |usage: Option<&Usage>| usage.map_or(self.clock, |usage| usage.served);
        let actor = served(self.actors.get(&key.actor));
        let workspace = match key.workspace {
            Some(_) => served(self.workspaces.get(&key.workspace)),
            None => actor,
        };
        (actor.max(workspace), actor, workspace)
    }

    /// Moves on the usages that had nobody to be served to where the others are, because nobody waited
    /// or because their share was used up: what was not used is not saved up.
    fn catch_up(
        &mut self,
        key: &QueueKey,
        had_nobody: impl Fn(&Usage, usize) -> bool,
        limits: Limits,
    ) {
        let actor = self.actors.get_mut(&key.actor).map(|usage| (usage, limits.connections_actor));
        let workspace = self.workspaces.get_mut(&key.workspace);
        let workspace = workspace.map(|usage| (usage, limits.connections_each));
        for (usage, share) in actor.into_iter().chain(workspace) {
            if had_nobody(usage, share) {
                usage.served = usage.served.max(self.clock);
            }
        }
    }

    /// Changes both usages, and forgets one of whom nobody is left.
    fn change(&mut self, key: &QueueKey, change: impl Fn(&mut Usage)) {
        fn of<K: Hash + Eq + Clone>(
            usages: &mut HashMap<K, Usage>,
            key: &K,
            served: u64,
            change: impl Fn(&mut Usage),
        ) {
            let usage = usages.entry(key.clone()).or_insert(Usage { served, ..Usage::default() });
            change(usage);
            if usage.active == 0 && usage.waiting == 0 {
                usages.remove(key);
            }
        }
        of(&mut self.actors, &key.actor, self.clock, &change);
        of(&mut self.workspaces, &key.workspace, self.clock, &change);
    }
}

impl Waiter {
    fn lock(&self) -> MutexGuard<'_, Answer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, answer: Answer) {
        if let Answer::None(Some(waker)) = std::mem::replace(&mut *self.lock(), answer) {
            waker.wake();
        }
    }
}

/// The right to use one connection of the pool. Given back when dropped.
pub(crate) struct Permit {
    queue: FairQueue,
    key: QueueKey,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.queue.leave(&self.key);
    }
}

/// A place in the queue. As a future, ready when admitted; given up when dropped.
pub(crate) struct Admission {
    queue: FairQueue,
    key: QueueKey,
    waiter: Option<Arc<Waiter>>,
    permit: Option<Permit>,
}

impl Admission {
    /// Blocks this thread until it is admitted, for so long at most.
    pub(crate) fn wait(mut self, timeout: Duration) -> Result<Permit> {
        let until = Instant::now().checked_add(timeout);
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(admitted) = Pin::new(&mut self).poll(&mut context) {
                return admitted;
            }
            let left =
                until.map_or(timeout, |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Err(timed_out());
            }
            std::thread::park_timeout(left);
        }
    }
}

/// Nobody left in time.
pub(crate) fn timed_out() -> Error {
    Error::PoolTimeout { reason: "every connection is in use".into() }
}

impl Future for Admission {
    type Output = Result<Permit>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(permit) = self.permit.take() {
            return Poll::Ready(Ok(permit));
        }
        let Some(waiter) = self.waiter.clone() else { return Poll::Ready(Err(timed_out())) };
        let mut answer = waiter.lock();
        let error = match &mut *answer {
            Answer::None(waker) => {
                *waker = Some(context.waker().clone());
                return Poll::Pending;
            }
            Answer::Admitted => None,
            Answer::Displaced => Some(Error::Overloaded { bound: QueueBound::Actor }),
            Answer::Closed => Some(Error::ShuttingDown),
        };
        drop(answer);
        self.waiter = None;
        Poll::Ready(match error {
            None => Ok(Permit { queue: self.queue.clone(), key: self.key.clone() }),
            Some(error) => Err(error),
        })
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let Some(waiter) = self.waiter.take() else { return };
        let mut state = self.queue.0.lock();
        let place = state.waiting.iter().position(|(_, other)| Arc::ptr_eq(other, &waiter));
        if let Some(place) = place {
            state.take(place);
            drop(state);
            self.queue.0.show(self.queue.stats());
            return;
        }
        drop(state);
        // It was admitted as it gave up.
        if matches!(*waiter.lock(), Answer::Admitted) {
            self.queue.leave(&self.key);
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    fn limits(connections: usize, each: usize) -> Limits {
        Limits {
            connections,
            connections_each: each,
            connections_actor: connections,
            queue: 1000,
            queue_each: 1000,
            queue_actor: 1000,
        }
    }

    fn queue(connections: usize, each: usize) -> FairQueue {
        FairQueue::new("tenant", limits(connections, each))
    }

    /// An actor in a workspace.
    fn key(actor: &str, workspace: &str) -> QueueKey {
        let user: crate::id::UserId = format!("u{actor}").parse().unwrap();
        QueueKey {
            actor: Actor::from(user),
            workspace: Some(format!("w{workspace}").parse().unwrap()),
        }
    }

    fn active(queue: &FairQueue, actor: &str, workspace: &str) -> Permit {
        queue.ask(key(actor, workspace)).unwrap().wait(LONG).unwrap()
    }

    fn bound(asked: Result<Admission>) -> QueueBound {
        match asked.err() {
            Some(Error::Overloaded { bound }) => bound,
            other => panic!("{other:?}"),
        }
    }

    fn poll(admission: &mut Admission) -> Poll<Result<Permit>> {
        Pin::new(admission).poll(&mut Context::from_waker(Waker::noop()))
    }

    /// The permit, if it is this one's turn.
    fn admitted(admission: &mut Admission) -> Option<Permit> {
        match poll(admission) {
            Poll::Ready(permit) => Some(permit.unwrap()),
            Poll::Pending => None,
        }
    }

    /// The names of those who wait, in the order in which they are served one after the other, once
    /// `permit` is given back.
    fn order(permit: Permit, mut waiting: Vec<(&'static str, Admission)>) -> String {
        let mut served = String::new();
        let mut active = Some(permit);
        while !waiting.is_empty() {
            drop(active.take());
            let turn = waiting.iter_mut().position(|(_, admission)| {
                active = admitted(admission);
                active.is_some()
            });
            served.push_str(waiting.remove(turn.unwrap()).0);
        }
        served
    }

    fn is_empty(queue: &FairQueue) -> bool {
        let state = queue.0.lock();
        state.stats == QueueStats::default()
            && state.actors.is_empty()
            && state.workspaces.is_empty()
            && state.waiting.is_empty()
    }

    #[test]
    fn workspaces_take_turns_and_each_is_served_in_order() {
        let queue = queue(1, 1);
        let permit = active(&queue, "x", "a");
        let waiting = [("a", "1"), ("a", "2"), ("a", "3"), ("b", "4"), ("b", "5"), ("c", "6")];
        let waiting = waiting.map(|(name, actor)| (name, queue.ask(key(actor, name)).unwrap()));
        // Who is active has had a turn: the others come first.
        assert_eq!(order(permit, waiting.into()), "bcabaa");
        assert!(is_empty(&queue));
    }

    #[test]
    fn an_actor_who_asks_for_many_workspaces_queues_behind_itself() {
        let queue = queue(1, 1);
        let permit = active(&queue, "m", "0");
        let mut waiting: Vec<_> =
            (1..=20).map(|n| ("m", queue.ask(key("m", &n.to_string())).unwrap())).collect();
        for actor in ["v", "w"] {
            waiting.push((actor, queue.ask(key(actor, actor)).unwrap()));
            waiting.push((actor, queue.ask(key(actor, actor)).unwrap()));
        }
        let served = order(permit, waiting);
        assert!(served.starts_with("vwmvw"), "{served}");
        assert!(is_empty(&queue));
    }

    #[test]
    fn a_workspace_of_many_actors_queues_behind_itself() {
        let queue = queue(1, 1);
        let permit = active(&queue, "0", "m");
        let mut waiting: Vec<_> =
            (1..=20).map(|n| ("m", queue.ask(key(&n.to_string(), "m")).unwrap())).collect();
        waiting.push(("v", queue.ask(key("v", "v")).unwrap()));
        waiting.push(("v", queue.ask(key("v", "v")).unwrap()));
        let served = order(permit, waiting);
        assert!(served.starts_with("vmv"), "{served}");
    }

    /// Membership is not known yet: a stranger may ask for anybody's workspace.
    #[test]
    fn a_stranger_takes_every_other_turn_of_the_workspace_it_asks_for_at_most() {
        let queue = queue(1, 1);
        let permit = active(&queue, "m", "v");
        let mut waiting: Vec<_> =
            (1..=20).map(|_| ("m", queue.ask(key("m", "v")).unwrap())).collect();
        for _ in 0..3 {
            waiting.push(("v", queue.ask(key("v", "v")).unwrap()));
        }
        let served = order(permit, waiting);
        assert_eq!(served[..6].matches('v').count(), 3, "{served}");
    }

    #[test]
    fn one_who_comes_seldom_is_next_however_long_the_others_have_been_there() {
        let queue = queue(1, 1);
        let mut permit = Some(active(&queue, "m", "1"));
        let mut flood: VecDeque<_> = (0..50).map(|_| queue.ask(key("m", "1")).unwrap()).collect();
        for _ in 0..20 {
            drop(permit.take());
            permit = admitted(flood.front_mut().unwrap());
            flood.pop_front();
            let mut seldom = queue.ask(key("v", "v")).unwrap();
            drop(permit.take());
            drop(admitted(&mut seldom).expect("the next turn"));
            permit = admitted(flood.front_mut().unwrap());
            flood.pop_front();
        }
    }

    #[test]
    fn a_workspace_and_an_actor_have_their_share_and_no_more() {
        let queue = FairQueue::new("tenant", Limits { connections_actor: 2, ..limits(4, 3) });
        let of_one: Vec<_> = (0..2).map(|n| active(&queue, "a", &n.to_string())).collect();
        let mut third = queue.ask(key("a", "2")).unwrap();
        assert!(admitted(&mut third).is_none(), "the actor's share");
        drop(active(&queue, "b", "9"));
        assert!(admitted(&mut third).is_none(), "another's leaving makes no room for it");
        drop(of_one);
        drop(admitted(&mut third).unwrap());
        let of_many: Vec<_> = (0..3).map(|n| active(&queue, &n.to_string(), "w")).collect();
        let mut fourth = queue.ask(key("4", "w")).unwrap();
        assert!(admitted(&mut fourth).is_none(), "the workspace's share");
        drop(of_many);
        assert!(admitted(&mut fourth).is_some());
    }

    /// A share that is used up holds a workspace back while others go on. Later it has no more turns for
    /// that than they have.
    #[test]
    fn turns_that_a_share_held_back_are_not_saved_up() {
        let queue = queue(4, 1);
        let mut running: VecDeque<_> =
            ["a", "b", "c", "d"].map(|name| (name, active(&queue, name, name))).into();
        let mut waiting: Vec<_> = ["a", "b", "c"]
            .iter()
            .flat_map(|name| std::iter::repeat_n(*name, 40))
            .map(|name| (name, queue.ask(key(name, name)).unwrap()))
            .collect();
        for _ in 0..40 {
            let next = queue.ask(key("d", "d")).unwrap();
            let (name, permit) = running.pop_back().unwrap();
            drop(permit);
            running.push_back((name, next.wait(LONG).unwrap()));
        }
        for name in ["d", "e", "f", "g"] {
            let asked = (0..40).map(|_| (name, queue.ask(key(name, name)).unwrap()));
            waiting.extend(asked.collect::<Vec<_>>());
        }
        let mut turns: HashMap<&str, usize> = HashMap::new();
        for _ in 0..70 {
            drop(running.pop_front());
            for place in (0..waiting.len()).rev() {
                if let Some(permit) = admitted(&mut waiting[place].1) {
                    let (name, _) = waiting.remove(place);
                    running.push_back((name, permit));
                    *turns.entry(name).or_default() += 1;
                }
            }
        }
        assert!(turns.len() == 7 && turns.values().all(|n| (9..=11).contains(n)), "{turns:?}");
    }

    fn outside(actor: impl Into<Actor>) -> QueueKey {
        QueueKey { actor: actor.into(), workspace: None }
    }

    #[test]
    fn users_outside_of_any_workspace_have_one_share_together() {
        let queue = FairQueue::new("tenant", Limits { queue: 10, queue_each: 3, ..limits(4, 2) });
        let user = |n: u32| outside(format!("u{n}").parse::<crate::id::UserId>().unwrap());
        let _two = [0, 1].map(|n| queue.ask(user(n)).unwrap().wait(LONG).unwrap());
        let mut waiting: Vec<_> = (2..5).map(|n| queue.ask(user(n)).unwrap()).collect();
        assert!(admitted(&mut waiting[0]).is_none(), "half of four is two");
        assert_eq!(bound(queue.ask(user(5))), QueueBound::Users);
        drop(active(&queue, "v", "v"));
    }

    #[test]
    fn services_take_turns_by_their_names_wherever_they_work() {
        let queue = queue(1, 1);
        let service = |name: &str, workspace: Option<&str>| QueueKey {
            actor: Actor::from(&name.parse::<crate::tenancy::ServiceName>().unwrap()),
            workspace: workspace.map(|id| id.parse().unwrap()),
        };
        // In tenants' workspaces, one after the other, beside a user of one of them.
        let permit = active(&queue, "x", "x");
        let ids: Vec<_> = (0..20).map(|n| format!("w{n}")).collect();
        let mut waiting: Vec<_> =
            ids.iter().map(|id| ("s", queue.ask(service("sync", Some(id))).unwrap())).collect();
        waiting.push(("u", queue.ask(key("u", "5")).unwrap()));
        waiting.push(("u", queue.ask(key("u", "5")).unwrap()));
        let served = order(permit, waiting);
        assert_eq!(served[..4].matches('u').count(), 2, "{served}");
        // And outside of any.
        let permit = queue.ask(service("sync", None)).unwrap().wait(LONG).unwrap();
        let mut waiting: Vec<_> =
            (0..20).map(|_| ("s", queue.ask(service("sync", None)).unwrap())).collect();
        waiting.push(("l", queue.ask(service("sign-in", None)).unwrap()));
        let served = order(permit, waiting);
        assert!(served.starts_with('l'), "{served}");
        assert!(is_empty(&queue));
    }

    #[test]
    fn parties_that_nobody_waits_for_are_forgotten() {
        let queue = queue(1, 1);
        let permit = active(&queue, "m", "0");
        for n in 0..1_000 {
            drop(queue.ask(key("m", &n.to_string())).unwrap());
        }
        {
            let state = queue.0.lock();
            assert_eq!((state.actors.len(), state.workspaces.len()), (1, 1));
        }
        let waiting = queue.ask(key("m", "1")).unwrap();
        queue.close();
        drop((permit, waiting));
        assert!(is_empty(&queue));
    }

    #[test]
    fn a_full_queue_says_whose_bound_it_was() {
        let limits = Limits { queue: 4, queue_each: 3, queue_actor: 2, ..limits(1, 1) };
        let queue = FairQueue::new("tenant", limits);
        let _active = active(&queue, "x", "x");
        let _one: Vec<_> = (0..2).map(|_| queue.ask(key("a", "a")).unwrap()).collect();
        assert_eq!(bound(queue.ask(key("a", "b"))), QueueBound::Actor);
        let _two = queue.ask(key("b", "a")).unwrap();
        assert_eq!(bound(queue.ask(key("b", "a"))), QueueBound::Workspace);
        let _three = queue.ask(key("b", "b")).unwrap();
        // Nobody waits more often than it would.
        assert_eq!(bound(queue.ask(key("b", "c"))), QueueBound::Actor);
        let _four = queue.ask(key("c", "c")).unwrap();
        assert_eq!(bound(queue.ask(key("c", "c"))), QueueBound::Queue);
    }

    #[test]
    fn a_flood_that_fills_the_queue_displaces_itself() {
        let queue = FairQueue::new("tenant", Limits { queue: 10, queue_each: 4, ..limits(1, 1) });
        let permit = active(&queue, "x", "x");
        let mut flood: Vec<_> =
            (0..10).map(|n| queue.ask(key("m", &n.to_string())).unwrap()).collect();
        let mut victim = queue.ask(key("v", "v")).unwrap();
        let displaced = poll(flood.last_mut().unwrap());
        assert!(matches!(
            displaced,
            Poll::Ready(Err(Error::Overloaded { bound: QueueBound::Actor }))
        ));
        assert_eq!(queue.stats().waiting, 10);
        drop(permit);
        assert!(admitted(&mut flood[0]).is_some() || admitted(&mut victim).is_some());
        drop((flood, victim));
        // The same within a workspace that strangers ask for.
        let _permit = active(&queue, "x", "x");
        let _flood: Vec<_> = (0..4).map(|_| queue.ask(key("m", "v")).unwrap()).collect();
        assert!(queue.ask(key("v", "v")).is_ok());
    }

    #[test]
    fn one_who_gives_up_leaves_no_trace() {
        let queue = queue(1, 1);
        let permit = active(&queue, "a", "a");
        let gave_up = queue.ask(key("b", "b")).unwrap().wait(Duration::from_millis(5));
        assert!(matches!(gave_up, Err(Error::PoolTimeout { .. })));
        let let_in = queue.ask(key("b", "b")).unwrap();
        drop(permit);
        // Admitted, and gone before it knew.
        drop(let_in);
        assert!(is_empty(&queue));
    }

    #[test]
    fn a_closed_queue_turns_everybody_away_and_empties() {
        let queue = queue(1, 1);
        let permit = active(&queue, "a", "a");
        let mut waiting = queue.ask(key("b", "b")).unwrap();
        queue.close();
        assert!(matches!(poll(&mut waiting), Poll::Ready(Err(Error::ShuttingDown))));
        assert!(matches!(queue.ask(key("c", "c")), Err(Error::ShuttingDown)));
        assert_eq!(queue.drain(Instant::now()), 1);
        let leaving = std::thread::spawn(move || drop(permit));
        assert_eq!(queue.drain(Instant::now() + LONG), 0);
        leaving.join().unwrap();
    }

    #[test]
    fn threads_never_exceed_the_limits() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let queue = queue(3, 2);
        let inside: Vec<_> = (0..4).map(|_| AtomicUsize::new(0)).collect();
        std::thread::scope(|scope| {
            for thread in 0..16 {
                let (queue, inside) = (&queue, &inside);
                scope.spawn(move || {
                    let mine = thread % 3;
                    for _ in 0..500 {
                        let permit = active(queue, &thread.to_string(), &mine.to_string());
                        assert!(inside[mine].fetch_add(1, Ordering::SeqCst) < 2);
                        assert!(inside[3].fetch_add(1, Ordering::SeqCst) < 3);
                        inside[3].fetch_sub(1, Ordering::SeqCst);
                        inside[mine].fetch_sub(1, Ordering::SeqCst);
                        drop(permit);
                    }
                });
            }
        });
        assert!(is_empty(&queue));
    }
}
