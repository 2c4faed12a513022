//! Placement groups: what guests ask of them, and the way to the head that reserves them, which is the
//! cluster's or one inside this process.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use engine_core::group::GroupMessage;
use engine_core::head::{Effect, Notice};
use engine_core::ids::PlacementGroupId;
use engine_core::node::{GroupRequest, Load, NodeInfo};
use engine_core::quota::LedgerReport;
use engine_core::{Error, ErrorCode, Time};
use engine_proto::v1::{self, node_request};
use engine_runtime::host::Caller;
use futures::StreamExt;
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::cluster::Found;
use crate::driver::Driver;
use crate::host::caller;

/// How often a head inside this process looks what the node has free while groups wait for room.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How often it looks whether it is to be told what was consumed.
const USAGE_LOOK_EVERY: Duration = Duration::from_secs(1);

/// When a timer is armed that nothing waits for: a node in the head's own process is never silent.
const NEVER: Time = Time(u64::MAX);

type Answer = Result<(), Error>;

/// What a head inside this process is told and asked, in this order.
enum Word {
    Message(GroupMessage),
    Ledger(LedgerReport),
    Lookup { namespace: String, name: String, answer: oneshot::Sender<Result<PlacementGroupId, Error>> },
}

/// Groups that were asked for and not answered, and the way to a head inside this process.
pub(crate) struct Groups {
    asked: Mutex<BTreeMap<PlacementGroupId, oneshot::Sender<Answer>>>,
    to_own_head: UnboundedSender<Word>,
    /// Until it is run.
    own_head: Mutex<Option<UnboundedReceiver<Word>>>,
}

impl Default for Groups {
    fn default() -> Self {
        let (to_own_head, words) = unbounded();
        Self { asked: Mutex::default(), to_own_head, own_head: Mutex::new(Some(words)) }
    }
}

impl Groups {
    /// Tells the head inside this process.
    pub(crate) fn tell_own_head(&self, message: GroupMessage) {
        // It only ends with the node.
        drop(self.to_own_head.unbounded_send(Word::Message(message)));
    }

    /// Tells the head inside this process what is used and wanted of quotas.
    pub(crate) fn tell_own_ledger(&self, report: LedgerReport) {
        drop(self.to_own_head.unbounded_send(Word::Ledger(report)));
    }

    /// The head has accepted a group, or has not.
    pub(crate) fn answered(&self, group: PlacementGroupId, answer: Answer) {
        if let Some(asked) = self.asked.lock().remove(&group) {
            // Whoever asked may be gone.
            drop(asked.send(answer));
        }
    }
}

/// Asks for a group on behalf of a guest, and waits until the head has accepted it.
pub(crate) async fn create_group(
    driver: Arc<Driver>,
    from: Caller,
    request: GroupRequest,
) -> Result<PlacementGroupId, Error> {
    let (group, answered) = driver.event(|node, _, _| {
        let group = node.create_group(caller(from), request)?;
        let (asked, answered) = oneshot::channel();
        // Before the event ends: the answer cannot come earlier.
        driver.groups.asked.lock().insert(group, asked);
        Ok::<_, Error>((group, answered))
    })?;
    answered.await.unwrap_or_else(|_| Err(stopped()))?;
    Ok(group)
}

fn stopped() -> Error {
    Error::new(ErrorCode::NodeDied, "the node is shutting down")
}

/// Finds a group by its name.
pub(crate) async fn lookup_group(
    driver: Arc<Driver>,
    from: Caller,
    namespace: String,
    name: String,
) -> Result<PlacementGroupId, Error> {
    let group = match driver.network() {
        Err(_) => {
            let (answer, answered) = oneshot::channel();
            drop(driver.groups.to_own_head.unbounded_send(Word::Lookup { namespace, name, answer }));
            answered.await.unwrap_or_else(|_| Err(stopped()))?
        }
        Ok(network) => {
            let lookup = v1::LookupGroup { namespace, name };
            match network.requests.ask(node_request::Request::LookupGroup(lookup)).await? {
                Found::Group(group) => group,
                _ => return Err(Error::internal("the head found a name and names no placement group")),
            }
        }
    };
    driver.event(|node, _, _| node.found_group(from.instance, group));
    Ok(group)
}

/// The head inside this process, for groups: as long as the node lives.
pub(crate) async fn run_own_head(driver: Weak<Driver>) {
    let words = driver.upgrade().and_then(|driver| {
        let info = driver.read(|node| {
            let view = node.node_view();
            NodeInfo { id: view.id, labels: view.labels, total: view.total }
        });
        let joined = driver.head.event(|head, fx| head.node_joins(driver.clock().now(), info, fx)).0;
        joined.unwrap_or_else(|error| tracing::error!(%error, "the node is none of its own head"));
        driver.event(|node, _, _| node.leases_anew());
        driver.groups.own_head.lock().take()
    });
    let Some(mut words) = words else { return };
    let mut at: Option<Time> = None;
    let mut said = Load::default();
    loop {
        let word = tokio::select! {
            word = words.next() => word,
            () = look(at.is_some()) => None,
        };
        let Some(driver) = driver.upgrade() else { return };
        let now = driver.clock().now();
        if let Some(usage) = driver.usage_to_tell() {
            driver.tell_own_usage(usage);
        }
        let (id, load) = driver.event(|node, _, _| (node.id(), node.load()));
        let is_due = at.take_if(|at| *at <= now).is_some();
        let ((), effects) = driver.head.event(|head, fx| {
            if load.free != said.free {
                head.heard_of(now, id, load.clone(), fx);
            }
            match word {
                Some(Word::Message(message)) => head.group_message(now, id, message, fx),
                Some(Word::Ledger(report)) => head.ledger_report(now, id, &report, fx),
                Some(Word::Lookup { namespace, name, answer }) => {
                    // Whoever asked may be gone.
                    drop(answer.send(head.lookup_group(&namespace, &name)));
                }
                None => {}
            }
            if is_due {
                head.timer(now, fx);
            }
        });
        said = load;
        for effect in effects {
            match effect {
                Effect::Tell(_, Notice::Group(notice)) => {
                    driver.event(|node, now, fx| node.group_notice(now, notice, fx));
                }
                Effect::Tell(_, Notice::Tenant(news)) => driver.tenant_news(*news),
                Effect::Alert(message) => tracing::warn!("{message}"),
                Effect::ArmTimer(next) => at = (next != NEVER).then_some(next),
                // There is no other node, and no job begins or ends here.
                Effect::Tell(..) | Effect::Died(..) | Effect::JobForgotten(_) | Effect::StartRun(..) => {}
            }
        }
    }
}

/// Resolves when it is time to look for room, when somebody waits for some, or at what was consumed.
async fn look(somebody_waits: bool) {
    match somebody_waits {
        true => tokio::time::sleep(LOOK_EVERY).await,
        false => tokio::time::sleep(USAGE_LOOK_EVERY).await,
    }
}
