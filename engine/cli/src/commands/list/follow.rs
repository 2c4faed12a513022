//! `engine list events --follow`: what happens, as it happens.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use engine_client::Client;
use engine_client::messages::view::View;
use engine_client::messages::{EventView, Filter, Kind, ListResponse};

use crate::failure::Failure;
use crate::output::{self, Format, json, rows, terminal};

/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Events that one look asks for.
const LOOK_EVENTS_MAX: u32 = 1_000;
/// How long an engine may be away meanwhile.
const ENGINE_AWAY_MAX: Duration = Duration::from_secs(60);

/// Prints the newest `limit` events, then those that come, each as a line, until the process ends.
pub(super) async fn events(
    client: &Client,
    filters: Vec<Filter>,
    limit: u32,
    format: Format,
) -> Result<(), Failure> {
    let mut seen = Seen::default();
    let first = client.list(Kind::Event, filters.clone(), limit).await?;
    print(seen.news(first), format)?;
    let mut heard = Instant::now();
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        match client.list(Kind::Event, filters.clone(), LOOK_EVENTS_MAX).await {
            Ok(listed) => {
                heard = Instant::now();
                print(seen.news(listed), format)?;
            }
            Err(error) if error.is_unreachable() && heard.elapsed() < ENGINE_AWAY_MAX => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn print((news, has_gap): (Vec<EventView>, bool), format: Format) -> Result<(), Failure> {
    if has_gap {
        eprintln!("more events have happened than one look shows: some are left out here");
    }
    news.iter().try_for_each(|event| match format {
        Format::Table => output::print(&terminal::line(&rows::event_line(event))),
        Format::Json => output::print(&terminal::json(&json::event(event).to_string())),
    })
}

/// Events that were shown, or were no news: the last so many.
const SEEN_MAX: usize = 20_000;

/// The events that were there at earlier looks: one that a node did not answer may lack some.
#[derive(Default)]
struct Seen {
    ids: HashSet<String>,
    /// The same, the oldest first.
    order: VecDeque<String>,
    /// The time of the oldest event that the first look showed; those before it are no news.
    from: Option<(i64, i32)>,
    has_looked: bool,
}

impl Seen {
    /// Those that were not there at an earlier look, the newest last; and whether there may be more.
    fn news(&mut self, listed: ListResponse) -> (Vec<EventView>, bool) {
        let events: Vec<EventView> = listed
            .items
            .into_iter()
            .filter_map(|item| match item.view {
                Some(View::Event(event)) => Some(event),
                _ => None,
            })
            .collect();
        let is_cut = listed.total > events.len() as u64;
        let is_known = |event: &EventView| self.ids.contains(&event.event_id);
        let has_gap = self.has_looked && is_cut && !self.ids.is_empty() && !events.iter().any(is_known);
        let time = |event: &EventView| event.time.map(|time| (time.seconds, time.nanos));
        let oldest = events.last().and_then(time);
        let is_news = |event: &EventView| !is_known(event) && time(event) >= self.from;
        let news: Vec<EventView> = events.iter().filter(|event| is_news(event)).rev().cloned().collect();
        if !std::mem::replace(&mut self.has_looked, true) && is_cut {
            self.from = oldest;
        }
        for event in events.iter().rev() {
            if self.ids.insert(event.event_id.clone()) {
                self.order.push_back(event.event_id.clone());
            }
        }
        while self.order.len() > SEEN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        (news, has_gap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine_client::messages::View as Item;

    fn listed(ids: &[u32], total: u64) -> ListResponse {
        let event = |id: &u32| EventView {
            event_id: format!("event-{id}"),
            time: Some(engine_proto::prost_types::Timestamp { seconds: (*id).into(), nanos: 0 }),
            ..Default::default()
        };
        let items = ids.iter().map(|id| Item { view: Some(View::Event(event(id))) }).collect();
        ListResponse { items, total, forgotten: 0 }
    }

    fn news(seen: &mut Seen, ids: &[u32], total: u64) -> (Vec<u32>, bool) {
        let (news, has_gap) = seen.news(listed(ids, total));
        let id = |event: &EventView| event.event_id["event-".len()..].parse().expect("a number");
        (news.iter().map(id).collect(), has_gap)
    }

    #[test]
    fn each_event_is_shown_once_the_newest_last() {
        let mut seen = Seen::default();
        assert_eq!(news(&mut seen, &[5, 4], 4), (vec![4, 5], false));
        // A later look asks for more than the first one did.
        assert_eq!(news(&mut seen, &[7, 6, 5, 4, 3, 2], 6), (vec![6, 7], false));
        assert_eq!(news(&mut seen, &[7, 6, 5, 4, 3, 2], 6), (vec![], false));
        // A node did not answer, and then did.
        assert_eq!(news(&mut seen, &[7, 5], 2), (vec![], false));
        assert_eq!(news(&mut seen, &[7, 6, 5, 4, 3, 2], 6), (vec![], false));
        // The engine was started again, and its log begins anew.
        assert_eq!(news(&mut seen, &[8], 1), (vec![8], false));
        assert_eq!(news(&mut seen, &[30, 29], 20), (vec![29, 30], true), "18 may be missing");
    }
}
