//! The ticks: collect, take into the window, publish, show. On a thread of its own, since collecting blocks.

use std::{
    io::{self, PipeReader, PipeWriter},
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::SUMMARY_EVERY;
use crate::{
    attribution::Attribution,
    kernel::Probe,
    latest::Latest,
    live::{Screen, ScreenKind, summary},
    report::Report,
    resources::meter::Meter,
    scrapers::Scrapers,
    settings::Settings,
    tier::Judge,
    window::Window,
};

/// What a tick needs.
pub(super) struct Ticker {
    pub(super) probe: Probe,
    pub(super) attribution: Attribution,
    pub(super) latest: Arc<Latest>,
    pub(super) scrapers: Arc<Scrapers>,
    pub(super) screen: Screen,
}

/// Ends the ticks, when it is dropped at the latest.
pub(super) struct StopHandle(PipeWriter);

/// Hears that they are to end.
pub(super) struct Stopped(PipeReader);

pub(super) fn stop_channel() -> io::Result<(StopHandle, Stopped)> {
    let (reader, writer) = io::pipe()?;
    Ok((StopHandle(writer), Stopped(reader)))
}

impl StopHandle {
    pub(super) fn shut(self) {
        drop(self.0);
    }
}

impl Stopped {
    /// Waits until a moment, until there is news, or until the end.
    fn wait_until(&self, moment: Instant, news: Option<BorrowedFd<'_>>) -> Waited {
        loop {
            let left = moment.saturating_duration_since(Instant::now());
            let heard = [Some(self.0.as_fd()), news];
            let mut watched: Vec<_> =
                heard.iter().flatten().map(|heard| PollFd::from_borrowed_fd(*heard, PollFlags::IN)).collect();
            match poll(&mut watched, Timespec::try_from(left).ok().as_ref()) {
                Err(rustix::io::Errno::INTR) => continue,
                // Nothing that is wrong with the descriptors may stop the ticks.
                Err(error) => {
                    tracing::debug!("cannot wait for interface changes: {error}");
                    std::thread::sleep(left);
                }
                Ok(_) => {}
            }
            // The other end is closed: that is all that it says.
            if !watched[0].revents().is_empty() {
                return Waited::Stopped;
            }
            if watched.get(1).is_some_and(|news| !news.revents().is_empty()) {
                return Waited::News;
            }
            if Instant::now() >= moment {
                return Waited::TickIsDue;
            }
        }
    }
}

#[derive(PartialEq, Eq)]
enum Waited {
    TickIsDue,
    News,
    Stopped,
}

impl Ticker {
    /// Ticks until stopped. Then the probe ends: whether what is pinned goes on counting.
    pub(super) fn run(mut self, settings: &Settings, stopped: &Stopped) -> bool {
        let mut window = Window::new(settings.window, settings.errors);
        let mut meter = Meter::default();
        let mut judge = Judge::new(settings.tiers.clone(), settings.window);
        let mut health = Health::Collecting;
        let mut next_summary = Instant::now() + SUMMARY_EVERY;
        let mut due = Instant::now();
        loop {
            match stopped.wait_until(due, self.probe.interface_news()) {
                Waited::Stopped => return self.probe.end(),
                Waited::News => {
                    self.probe.follow_interfaces();
                    continue;
                }
                Waited::TickIsDue => {}
            }
            due = next_tick(due, settings.interval, Instant::now());
            let shown = self.scrapers.shown(Instant::now());
            match self.probe.collect(settings.users_window, shown, &mut self.attribution) {
                Ok(snapshot) => {
                    health = health.recovered();
                    let resources = meter.read(&snapshot, &mut self.attribution);
                    let report = window.push(snapshot).judged_by(&mut judge).with_resources(resources);
                    let report = Arc::new(report);
                    self.latest.publish(Arc::clone(&report));
                    self.show(&report, &mut next_summary);
                }
                Err(error) => health = health.failed(&error.into()),
            }
        }
    }

    fn show(&self, report: &Report, next_summary: &mut Instant) {
        if let Some(lines) = self.screen.lost_until_now() {
            tracing::warn!("the log could not be written for a while: {lines} lines were lost");
        }
        match self.screen.kind() {
            ScreenKind::Terminal => self.screen.show(&summary(report)),
            ScreenKind::Stream if Instant::now() >= *next_summary => {
                *next_summary += SUMMARY_EVERY;
                tracing::info!("{}", summary(report));
            }
            ScreenKind::Stream => {}
        }
    }
}

/// When the next tick is due. Those that were missed are skipped: a late one is not followed by a burst.
fn next_tick(due: Instant, interval: Duration, now: Instant) -> Instant {
    let next = due + interval;
    if next > now {
        return next;
    }
    now + interval
}

/// Whether passes succeed: each change is logged once, not each pass.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Health {
    Collecting,
    Failing,
}

impl Health {
    fn recovered(self) -> Self {
        if self == Self::Failing {
            tracing::info!("collecting again");
        }
        Self::Collecting
    }

    fn failed(self, error: &anyhow::Error) -> Self {
        if self == Self::Collecting {
            tracing::error!("cannot collect: {error:#}; retrying every tick");
        }
        Self::Failing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn ticks_keep_their_rhythm_and_skip_what_they_miss() {
        let due = Instant::now();
        assert_eq!(next_tick(due, SECOND, due + SECOND / 10), due + SECOND, "lateness does not add up");
        let late = due + SECOND * 7 / 2;
        assert_eq!(next_tick(due, SECOND, late), late + SECOND);
    }

    #[test]
    fn news_and_a_stop_end_the_wait() {
        let (stop, stopped) = stop_channel().unwrap();
        let (news, teller) = io::pipe().unwrap();
        assert!(stopped.wait_until(Instant::now(), Some(news.as_fd())) == Waited::TickIsDue);
        drop(teller);
        assert!(stopped.wait_until(Instant::now() + SECOND * 60, Some(news.as_fd())) == Waited::News);
        stop.shut();
        assert!(stopped.wait_until(Instant::now() + SECOND * 60, Some(news.as_fd())) == Waited::Stopped);
    }
}
