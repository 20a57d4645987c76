//! Who gets a connection next: a fair turn for each workspace, a bounded queue, and an end.
//!
//! One gate stands before each pool and lets in as many callers as the pool has connections, so that
//! what is waited for is waited for here. Workspaces take turns, and within one the first come is the
//! first served; so a workspace that floods the queue waits behind itself. The same gate serves
//! threads and futures: a waiter is a waker.
//!
//! Guarded by the tests below and by `tests/fairness.rs`.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::id::{UserId, WorkspaceId};

/// On whose behalf a connection is used.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Party {
    Workspace(WorkspaceId),
    User(UserId),
    Service,
}

/// How many may be inside and how many may wait, in all and for one party.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) connections: usize,
    pub(crate) connections_each: usize,
    pub(crate) queue: usize,
    pub(crate) queue_each: usize,
}

/// What goes on at a gate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) inside: usize,
    pub(crate) waiting: usize,
}

#[derive(Clone)]
pub(crate) struct Gate(Arc<Inner>);

struct Inner {
    door: &'static str,
    limits: Limits,
    state: Mutex<State>,
    /// Told when the last one leaves.
    empty: Condvar,
}

#[derive(Default)]
struct State {
    traffic: Traffic,
    parties: HashMap<Party, Queue>,
    /// The parties that have somebody waiting and may have one more inside, in the order of their
    /// turns.
    turns: VecDeque<Party>,
    closed: bool,
}

#[derive(Default)]
struct Queue {
    inside: usize,
    waiting: VecDeque<Arc<Waiter>>,
    has_turn: bool,
}

struct Waiter(Mutex<Answer>);

enum Answer {
    None(Option<Waker>),
    Admitted,
    Closed,
}

impl Gate {
    pub(crate) fn new(door: &'static str, limits: Limits) -> Self {
        let state = Mutex::default();
        Self(Arc::new(Inner { door, limits, state, empty: Condvar::new() }))
    }

    /// Asks to be let in.
    pub(crate) fn ask(&self, party: Party) -> Result<Admission> {
        let (waiter, traffic) = {
            let mut state = self.0.lock();
            if state.closed {
                return Err(Error::ShuttingDown);
            }
            let limits = self.0.limits;
            let queue = state.parties.get(&party);
            let (inside, waiting) =
                queue.map_or((0, 0), |queue| (queue.inside, queue.waiting.len()));
            let full = state.traffic.inside >= limits.connections;
            if !full && state.turns.is_empty() && inside < limits.connections_each {
                state.parties.entry(party.clone()).or_default().inside += 1;
                state.traffic.inside += 1;
                (None, state.traffic)
            } else if state.traffic.waiting >= limits.queue || waiting >= limits.queue_each {
                drop(state);
                crate::observe::overloaded(self.0.door);
                return Err(Error::Overloaded);
            } else {
                let waiter = Arc::new(Waiter(Mutex::new(Answer::None(None))));
                let queue = state.parties.entry(party.clone()).or_default();
                queue.waiting.push_back(waiter.clone());
                state.traffic.waiting += 1;
                state.take_turn(&party, limits);
                (Some(waiter), state.traffic)
            }
        };
        self.0.show(traffic);
        // Without a waiter it has been let in.
        let permit = waiter.is_none().then(|| Permit { gate: self.clone(), party: party.clone() });
        Ok(Admission { gate: self.clone(), party, waiter, permit })
    }

    pub(crate) fn name(&self) -> &'static str {
        self.0.door
    }

    pub(crate) fn traffic(&self) -> Traffic {
        self.0.lock().traffic
    }

    /// Lets nobody in any more, and turns away those who wait.
    pub(crate) fn close(&self) {
        let turned_away: Vec<_> = {
            let mut state = self.0.lock();
            state.closed = true;
            state.turns.clear();
            state.traffic.waiting = 0;
            state.parties.values_mut().flat_map(|queue| queue.waiting.drain(..)).collect()
        };
        for waiter in turned_away {
            waiter.answer(Answer::Closed);
        }
    }

    /// Waits for the last one to leave. Returns how many are still inside.
    pub(crate) fn drain(&self, until: Instant) -> usize {
        let mut state = self.0.lock();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if state.traffic.inside == 0 || left.is_zero() {
                return state.traffic.inside;
            }
            let waited = self.0.empty.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn leave(&self, party: &Party) {
        let traffic = {
            let mut state = self.0.lock();
            state.traffic.inside -= 1;
            if let Some(queue) = state.parties.get_mut(party) {
                queue.inside -= 1;
            }
            state.take_turn(party, self.0.limits);
            state.forget_if_gone(party);
            if state.traffic.inside == 0 {
                self.0.empty.notify_all();
            }
            state.traffic
        };
        self.0.show(traffic);
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, traffic: Traffic) {
        crate::observe::pool(self.door, self.limits.connections, traffic.inside, traffic.waiting);
    }
}

impl State {
    /// Gives a party its turn, if it has any use for one, and lets in whoever now can be.
    fn take_turn(&mut self, party: &Party, limits: Limits) {
        self.queue_up(party, limits);
        while self.traffic.inside < limits.connections {
            let Some(next) = self.turns.pop_front() else { break };
            let Some(queue) = self.parties.get_mut(&next) else { continue };
            queue.has_turn = false;
            let Some(waiter) = queue.waiting.pop_front() else { continue };
            queue.inside += 1;
            self.traffic.inside += 1;
            self.traffic.waiting -= 1;
            waiter.answer(Answer::Admitted);
            self.queue_up(&next, limits);
        }
    }

    fn queue_up(&mut self, party: &Party, limits: Limits) {
        let Some(queue) = self.parties.get_mut(party) else { return };
        if !queue.has_turn && !queue.waiting.is_empty() && queue.inside < limits.connections_each {
            queue.has_turn = true;
            self.turns.push_back(party.clone());
        }
    }

    fn forget_if_gone(&mut self, party: &Party) {
        if self.parties.get(party).is_some_and(|q| q.inside == 0 && q.waiting.is_empty()) {
            self.parties.remove(party);
            self.turns.retain(|turn| turn != party);
        }
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
    gate: Gate,
    party: Party,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gate.leave(&self.party);
    }
}

/// A place in the queue. As a future, ready when let in; given up when dropped.
pub(crate) struct Admission {
    gate: Gate,
    party: Party,
    waiter: Option<Arc<Waiter>>,
    permit: Option<Permit>,
}

impl Admission {
    /// Blocks this thread until it is let in, for so long at most.
    pub(crate) fn wait(mut self, patience: Duration) -> Result<Permit> {
        let until = Instant::now().checked_add(patience);
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(admitted) = Pin::new(&mut self).poll(&mut context) {
                return admitted;
            }
            let left =
                until.map_or(patience, |until| until.saturating_duration_since(Instant::now()));
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
        match &mut *answer {
            Answer::None(waker) => {
                *waker = Some(context.waker().clone());
                return Poll::Pending;
            }
            Answer::Admitted => {}
            Answer::Closed => {
                self.waiter = None;
                return Poll::Ready(Err(Error::ShuttingDown));
            }
        }
        drop(answer);
        self.waiter = None;
        Poll::Ready(Ok(Permit { gate: self.gate.clone(), party: self.party.clone() }))
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let Some(waiter) = self.waiter.take() else { return };
        let mut state = self.gate.0.lock();
        if let Some(queue) = state.parties.get_mut(&self.party) {
            let before = queue.waiting.len();
            queue.waiting.retain(|other| !Arc::ptr_eq(other, &waiter));
            if queue.waiting.len() < before {
                state.traffic.waiting -= 1;
                state.forget_if_gone(&self.party);
                return;
            }
        }
        drop(state);
        // It was let in as it gave up.
        if matches!(*waiter.lock(), Answer::Admitted) {
            self.gate.leave(&self.party);
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

    fn gate(connections: usize, each: usize) -> Gate {
        let limits = Limits { connections, connections_each: each, queue: 100, queue_each: 100 };
        Gate::new("tenant", limits)
    }

    fn party(name: &str) -> Party {
        Party::Workspace(format!("w{name}").parse().unwrap())
    }

    fn poll(admission: &mut Admission) -> Poll<Result<Permit>> {
        Pin::new(admission).poll(&mut Context::from_waker(Waker::noop()))
    }

    /// The permit, if it is this one's turn.
    fn entered(admission: &mut Admission) -> Option<Permit> {
        match poll(admission) {
            Poll::Ready(permit) => Some(permit.unwrap()),
            Poll::Pending => None,
        }
    }

    #[test]
    fn parties_take_turns_and_each_is_served_in_order() {
        let gate = gate(1, 1);
        let inside = gate.ask(party("a")).unwrap().wait(LONG).unwrap();
        let names = ["a", "a", "a", "b", "b", "c"];
        let mut waiting: Vec<_> =
            names.iter().map(|name| (*name, gate.ask(party(name)).unwrap())).collect();
        let mut served = String::new();
        let mut inside = Some(inside);
        while !waiting.is_empty() {
            drop(inside.take());
            let turn = waiting.iter_mut().position(|(_, admission)| {
                inside = entered(admission);
                inside.is_some()
            });
            served.push_str(waiting.remove(turn.unwrap()).0);
        }
        // Who is inside has had a turn: the others come first.
        assert_eq!(served, "bcabaa");
        drop(inside);
        assert_eq!(gate.traffic(), Traffic::default());
    }

    #[test]
    fn a_party_has_its_share_inside_and_no_more() {
        let gate = gate(4, 2);
        let flood: Vec<_> = (0..2).map(|_| gate.ask(party("a")).unwrap().wait(LONG)).collect();
        let mut third = gate.ask(party("a")).unwrap();
        assert!(entered(&mut third).is_none());
        let other = gate.ask(party("b")).unwrap().wait(LONG).unwrap();
        drop(other);
        assert!(entered(&mut third).is_none(), "another's leaving makes no room for it");
        drop(flood);
        assert!(entered(&mut third).is_some());
    }

    #[test]
    fn a_full_queue_turns_away_at_once() {
        let limits = Limits { connections: 1, connections_each: 1, queue: 3, queue_each: 2 };
        let gate = Gate::new("tenant", limits);
        let _inside = gate.ask(party("a")).unwrap().wait(LONG).unwrap();
        let _waiting: Vec<_> = (0..2).map(|_| gate.ask(party("a")).unwrap()).collect();
        assert!(matches!(gate.ask(party("a")), Err(Error::Overloaded)), "its own queue");
        let _other = gate.ask(party("b")).unwrap();
        assert!(matches!(gate.ask(party("c")), Err(Error::Overloaded)), "the whole queue");
    }

    #[test]
    fn one_who_gives_up_leaves_no_trace() {
        let gate = gate(1, 1);
        let inside = gate.ask(party("a")).unwrap().wait(LONG).unwrap();
        let gave_up = gate.ask(party("b")).unwrap().wait(Duration::from_millis(5));
        assert!(matches!(gave_up, Err(Error::PoolTimeout { .. })));
        let let_in = gate.ask(party("b")).unwrap();
        drop(inside);
        // Let in, and gone before it knew.
        drop(let_in);
        assert_eq!(gate.traffic(), Traffic::default());
        assert!(gate.0.lock().parties.is_empty());
    }

    #[test]
    fn a_closed_gate_turns_everybody_away_and_empties() {
        let gate = gate(1, 1);
        let inside = gate.ask(party("a")).unwrap().wait(LONG).unwrap();
        let mut waiting = gate.ask(party("b")).unwrap();
        gate.close();
        assert!(matches!(poll(&mut waiting), Poll::Ready(Err(Error::ShuttingDown))));
        assert!(matches!(gate.ask(party("c")), Err(Error::ShuttingDown)));
        assert_eq!(gate.drain(Instant::now()), 1);
        let leaving = std::thread::spawn(move || drop(inside));
        assert_eq!(gate.drain(Instant::now() + LONG), 0);
        leaving.join().unwrap();
    }

    #[test]
    fn threads_never_exceed_the_limits() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let gate = gate(3, 2);
        let inside: Vec<_> = (0..4).map(|_| AtomicUsize::new(0)).collect();
        std::thread::scope(|scope| {
            for thread in 0..16 {
                let (gate, inside) = (&gate, &inside);
                scope.spawn(move || {
                    let mine = thread % 3;
                    for _ in 0..500 {
                        let permit =
                            gate.ask(party(&format!("w{mine}"))).unwrap().wait(LONG).unwrap();
                        assert!(inside[mine].fetch_add(1, Ordering::SeqCst) < 2);
                        assert!(inside[3].fetch_add(1, Ordering::SeqCst) < 3);
                        inside[3].fetch_sub(1, Ordering::SeqCst);
                        inside[mine].fetch_sub(1, Ordering::SeqCst);
                        drop(permit);
                    }
                });
            }
        });
        assert_eq!(gate.traffic(), Traffic::default());
    }
}
