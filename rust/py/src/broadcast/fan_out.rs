//! The writes of one flush on several threads: each is a system call that waits for nobody, and one client's has nothing to
//! do with another's.
//!
//! The calling thread always takes part; the others wait between flushes without using the processor. Whoever is free takes
//! the next few writes, so a thread that wakes up late, or never gets a processor, costs the flush nothing: the caller waits
//! only for threads that have begun.
//!
//! Measured with one thread against two, in turn, on two cores that the reading clients and others share
//! (`benches/profile_fan_out.py`, two runs): a flush to 5 000 clients takes 0.7x to 0.9x as long, to 1 000 clients 0.85x to
//! 0.96x, for 0.96x to 1.05x of the CPU. To 600 clients it took 0.94x, and with four times as much to do as there were cores
//! 1.1x to 2.3x: a thread that has begun can be kept from its processor for a whole time slice. So a server of two cores
//! keeps to one thread unless it is told otherwise.

use std::io::IoSlice;
use std::ops::Range;
use std::os::fd::RawFd;
use std::process;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use crate::socket::{self, Written};

/// Writes that a thread takes at once: some 100 us, which is also the most that one thread waits for another at the end.
const CHUNK: usize = 16;

/// Jobs from which on other threads are woken.
const WIDE_FROM: usize = 512;

/// Enough for a loop around a system call.
const STACK: usize = 64 * 1024;

/// One write.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) descriptor: RawFd,
    /// Which of the slices. None at all: nothing is written, and nothing is the result.
    pub(super) slices: Range<usize>,
}

impl Job {
    fn run(&self, slices: &[IoSlice<'_>]) -> Option<Written> {
        (!self.slices.is_empty()).then(|| socket::send(self.descriptor, &slices[self.slices.clone()]))
    }
}

/// The threads of one broadcaster. They are made when first needed, and end with it.
#[derive(Debug)]
pub(super) struct FanOut {
    threads: usize,
    team: Mutex<Option<Team>>,
}

impl FanOut {
    /// `threads`: how many write at most, the caller among them.
    pub(super) fn new(threads: usize) -> Self {
        Self { threads, team: Mutex::new(None) }
    }

    /// Does all jobs, which are parts of `slices`; returns what became of each.
    pub(super) fn run(&self, jobs: &[Job], slices: &[IoSlice<'_>]) -> Vec<Option<Written>> {
        if self.threads < 2 || jobs.len() < WIDE_FROM {
            return jobs.iter().map(|job| job.run(slices)).collect();
        }
        let mut results = Vec::new();
        results.resize_with(jobs.len(), || None);
        let chunks = Mutex::new(jobs.chunks(CHUNK).zip(results.chunks_mut(CHUNK)));
        let mut team = lock(&self.team);
        // A fork leaves the threads behind: the child makes its own.
        if team.as_ref().is_some_and(Team::is_left_behind) {
            *team = None;
        }
        team.get_or_insert_with(|| Team::new(self.threads - 1)).run(&|| {
            loop {
                let Some((jobs, results)) = lock(&chunks).next() else { return };
                for (job, result) in jobs.iter().zip(results) {
                    *result = job.run(slices);
                }
            }
        });
        results
    }
}

/// What the threads are to run: valid while `Team::run` has not returned.
#[derive(Clone, Copy, Debug)]
struct Task(*const (dyn Fn() + Sync));

// SAFETY: the closure is `Sync`, so it may be called on any thread; `Team::run` keeps it alive for as long as one does.
unsafe impl Send for Task {}

#[derive(Debug, Default)]
struct Turn {
    /// Counts the tasks, so that no thread runs one twice.
    number: u64,
    task: Option<Task>,
    /// Threads inside the task.
    running: usize,
    has_ended: bool,
}

#[derive(Debug, Default)]
struct Shared {
    turn: Mutex<Turn>,
    /// There is a task, or the end has come.
    begin: Condvar,
    /// The last thread has left the task.
    left: Condvar,
}

#[derive(Debug)]
struct Team {
    process: u32,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Team {
    fn new(helpers: usize) -> Self {
        let shared = Arc::<Shared>::default();
        let threads = without_signals(|| {
            // Fewer threads than asked for are no error: the others and the caller do the work.
            (0..helpers)
                .map_while(|_| {
                    let shared = Arc::clone(&shared);
                    Builder::new().name("ws-fan-out".into()).stack_size(STACK).spawn(move || shared.serve()).ok()
                })
                .collect()
        });
        Self { process: process::id(), shared, threads }
    }

    /// Whether this is the child of a fork: the threads are the parent's.
    fn is_left_behind(&self) -> bool {
        self.process != process::id()
    }

    /// Runs `task` on the calling thread and on each other one that is free in time; all have left it on return.
    fn run(&self, task: &(dyn Fn() + Sync)) {
        /// Waits on the way out, also if the task panics.
        struct Wait<'a>(&'a Shared);
        impl Drop for Wait<'_> {
            fn drop(&mut self) {
                let mut turn = lock(&self.0.turn);
                turn.task = None;
                while turn.running > 0 {
                    turn = self.0.left.wait(turn).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
        // SAFETY: only the lifetime changes. `Wait` takes the task back and waits for all threads inside it before this
        // function ends, however it ends.
        let erased = unsafe { std::mem::transmute::<&(dyn Fn() + Sync), &'static (dyn Fn() + Sync)>(task) };
        let _wait = Wait(&self.shared);
        {
            let mut turn = lock(&self.shared.turn);
            turn.number += 1;
            turn.task = Some(Task(erased));
        }
        self.shared.begin.notify_all();
        task();
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        if self.is_left_behind() {
            // There is nothing to join, and one of them may have held the lock.
            std::mem::forget(std::mem::take(&mut self.threads));
            return;
        }
        lock(&self.shared.turn).has_ended = true;
        self.shared.begin.notify_all();
        for thread in self.threads.drain(..) {
            // A thread that panicked has ended too.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// What a thread does until the end.
    fn serve(&self) {
        /// Reports that the thread has left the task, also if it panics.
        struct Leave<'a>(&'a Shared);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                let mut turn = lock(&self.0.turn);
                turn.running -= 1;
                if turn.running == 0 {
                    self.0.left.notify_one();
                }
            }
        }
        let mut done = 0;
        loop {
            let mut turn = lock(&self.turn);
            let task = loop {
                if turn.has_ended {
                    return;
                }
                match turn.task {
                    Some(task) if turn.number != done => break task,
                    _ => turn = self.begin.wait(turn).unwrap_or_else(PoisonError::into_inner),
                }
            };
            done = turn.number;
            turn.running += 1;
            drop(turn);
            let _leave = Leave(self);
            // SAFETY: the task stood in `turn` when this thread was counted in, under one lock; `Team::run` does not return
            // before the thread is counted out again.
            unsafe { (*task.0)() };
        }
    }
}

/// The lock; what it guards is whole also after a panic, as each change of it is one assignment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `spawn` with all signals blocked, for the threads it makes: signals are the interpreter's threads' business.
fn without_signals<T>(spawn: impl FnOnce() -> T) -> T {
    // SAFETY: both sets live through the calls, and an all-zero `sigset_t` is one that `sigfillset` and `pthread_sigmask` fill.
    let before = unsafe {
        let (mut all, mut before) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        before
    };
    let threads = spawn();
    // SAFETY: `before` is the mask that the first call read.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut()) };
    threads
}
