//! The head of the simulated cluster: it hears the nodes, or does not, and tells them of one another.

use std::collections::VecDeque;

use super::memory::Output;
use super::{BEAT, Hears, Simulation};
use crate::head::{self, Notice};
use crate::ids::NodeId;
use crate::node::NodeInfo;

impl Simulation {
    pub(super) fn info(&self, index: usize) -> NodeInfo {
        let node = &self.cluster.worlds[index].node;
        NodeInfo { id: node.id(), labels: Vec::new(), total: node.ledger().0.clone() }
    }

    pub(super) fn beat(&mut self) {
        for index in self.alive() {
            if self.next_beat[index] <= self.now {
                self.next_beat[index] = self.now + BEAT;
                let load = self.cluster.worlds[index].node.load();
                let at = self.after(20);
                let still = self.cluster.worlds[index].node.standstill();
                self.to_head.push((at, Hears::Load(index, load, still)));
            }
        }
        let now = self.now;
        let back: Vec<usize> =
            self.cut_off.extract_if(.., |_, until| *until <= now).map(|(at, _)| at).collect();
        back.into_iter().for_each(|index| self.break_line(index));
    }

    pub(super) fn head_works(&mut self) {
        let mut fx = Vec::new();
        let mut outputs = self.clients_ask();
        let now = self.now;
        for (at, hears) in std::mem::take(&mut self.to_head) {
            if at > now {
                self.to_head.push((at, hears));
                continue;
            }
            match hears {
                Hears::Join(index)
                | Hears::Load(index, ..)
                | Hears::Started(index, _)
                | Hears::JobEnded(index, _)
                | Hears::RunGone(index, _)
                    if self.cut_off.contains_key(&index) =>
                {
                    if !matches!(hears, Hears::Load(..)) {
                        self.to_head.push((now + BEAT, hears));
                    }
                }
                Hears::Join(index) if self.cluster.alive[index] => {
                    let info = self.info(index);
                    let id = info.id;
                    let joined = self.head.node_joins(now, info, &mut fx);
                    self.head.welcome_waits(now, id, &mut fx);
                    outputs.extend(fx.drain(..).map(Output::Effect));
                    outputs.push(match joined {
                        Ok(()) => Output::Welcome(index, self.known_dead(index)),
                        Err(_) => Output::Fenced(index),
                    });
                    outputs.extend(self.say_runs_again(index));
                }
                Hears::Load(index, load, still) if self.cluster.alive[index] => {
                    let id = self.cluster.id(index);
                    let is_known = self.head.nodes().any(|(info, _)| info.id == id);
                    let fenced = self.head.is_dead(id).is_some() && !self.is_joining(index);
                    // One that is known or fenced; a beat may overtake the wish to join.
                    let counts = is_known || fenced;
                    for wants in std::mem::take(&mut self.cluster.worlds[index].asks_for_loads) {
                        self.head.wants_loads(id, wants, &mut fx);
                    }
                    if counts && !self.head.heard_of(now, id, load, &mut fx) {
                        // It is told that it is dead, and starts afresh.
                        self.summary.fenced += 1;
                        outputs.push(Output::Fenced(index));
                    }
                    if let Some(still) = still {
                        self.head.stands_still(now, id, still, &mut fx);
                    }
                }
                Hears::Leave(index) if self.cut_off.contains_key(&index) => {
                    self.to_head.push((now + BEAT, hears));
                }
                Hears::Leave(index) => self.hear_who_leaves(index, &mut fx),
                Hears::Broken(id) => self.head.connection_broke(now, id, &mut fx),
                Hears::Ask(from, id) => {
                    if let Some(notice) = self.head.is_dead(id) {
                        fx.push(head::Effect::Tell(self.cluster.id(from), notice));
                    }
                }
                Hears::Started(_, run) => self.head.job_started(now, run),
                Hears::JobEnded(index, run) if self.cluster.alive[index] => {
                    let end = self.cluster.worlds[index].ended[&run].clone();
                    self.head.job_ended(now, run, end);
                }
                Hears::RunGone(index, run) => {
                    self.head.run_is_gone(self.cluster.id(index), run, &mut fx);
                }
                Hears::Join(_) | Hears::Load(..) | Hears::JobEnded(..) => {}
            }
        }
        self.hear_of_groups(&mut fx);
        self.hurry_runs(&mut fx);
        if self.head_timer.is_some_and(|at| at <= now) {
            self.head_timer = None;
            self.head.timer(now, &mut fx);
        }
        outputs.extend(fx.into_iter().map(Output::Effect));
        self.let_out(outputs);
    }

    pub(super) fn is_joining(&self, index: usize) -> bool {
        self.to_head.iter().any(|(_, hears)| matches!(hears, Hears::Join(joining) if *joining == index))
    }

    pub(super) fn tell_nodes(&mut self) {
        let now = self.now;
        for index in self.alive() {
            while let Some((at, _)) = self.notices.get(&index).and_then(VecDeque::front)
                && *at <= now
            {
                let Some((_, notice)) = self.notices.get_mut(&index).and_then(VecDeque::pop_front) else {
                    break;
                };
                self.cluster.worlds[index].note(|| format!("hears {notice:?}"));
                match &notice {
                    Notice::Left(id, _) if *id == self.cluster.id(index) => {
                        self.stop_node(index);
                        break;
                    }
                    Notice::Left(id, _) => {
                        self.told.insert((index, *id));
                        self.node_left(index, *id);
                        continue;
                    }
                    Notice::Dead(id, _) => drop(self.told.insert((index, *id))),
                    Notice::Group(notice) => self.lines.note_down(index, notice),
                    Notice::BreakDeadlock(changes) => {
                        self.break_deadlock(index, *changes);
                        continue;
                    }
                    Notice::Joined(_)
                    | Notice::Loads(_)
                    | Notice::EndRun(_)
                    | Notice::Tenant(_)
                    | Notice::Draining(..) => {}
                }
                self.cluster.worlds[index].event(|node, now, fx| match notice {
                    Notice::Joined(infos) => {
                        infos.iter().for_each(|info| node.node_joined(now, info.clone(), fx));
                    }
                    Notice::Dead(id, _) => node.node_dead(now, id, fx),
                    Notice::Group(notice) => node.group_notice(now, notice, fx),
                    Notice::EndRun(run) => node.end_run(now, run, fx),
                    Notice::Draining(id, deadline) => node.node_drains(now, id, deadline, fx),
                    Notice::Left(id, _) => node.node_left(now, id, fx),
                    Notice::Tenant(news) => node.tenant_news(now, *news, fx),
                    Notice::BreakDeadlock(_) => {}
                    Notice::Loads(loads) => {
                        loads.iter().for_each(|(id, load)| node.node_load(now, *id, load.clone(), fx));
                    }
                });
            }
        }
    }

    /// A node is told that it is to break a deadlock: it does when there is one.
    fn break_deadlock(&mut self, index: usize, changes: u64) {
        let nodes = || {
            let worlds = self.cluster.worlds.iter().zip(&self.cluster.alive);
            let alive = worlds.filter(|(_, alive)| **alive).map(|(world, _)| &world.node);
            alive.filter(|node| self.head.is_alive(node.id()))
        };
        let going_on: Vec<NodeId> =
            nodes().filter(|node| node.standstill().is_none()).map(|node| node.id()).collect();
        let has_room: Vec<NodeId> = match self.cluster.worlds[index].node.first_that_fits_anywhere() {
            Some(needs) => nodes().filter(|node| node.free.covers(&needs)).map(|node| node.id()).collect(),
            None => Vec::new(),
        };
        let is_broken =
            self.cluster.worlds[index].event(|node, now, fx| node.break_standstill(now, changes, fx));
        assert!(!is_broken || going_on.is_empty(), "a deadlock, while something goes on at {going_on:?}");
        assert!(!is_broken || has_room.is_empty(), "a deadlock, while there is room at {has_room:?}");
        self.summary.deadlocks += u64::from(is_broken);
    }
}
