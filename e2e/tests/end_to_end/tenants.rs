//! Two tenants at random work in one archive of separate services: by no command, metric, log or object name does one
//! see anything of the other.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use openarchive_domain::Digest;
use openarchive_e2e::{Agent, AgentOptions, Cluster, Ctl, PeerMode, eventually};
use openarchive_testkit::{
    sample_mail::{Numbers, SampleMail, sample_mail},
    smtp_client::SmtpClient,
};
use serde_json::Value;

use crate::separate::{agent, token_file};

const STEPS: usize = 64;
/// Mails that only the first tenant gets, and after them those that only the second gets; the rest both may get.
const OWN_MAILS: usize = 4;

struct Side<'a> {
    cluster: &'a Cluster,
    tenant: &'static str,
    agent: Agent,
    token: PathBuf,
    mails: &'a [SampleMail],
    /// The mails that it may archive.
    allowed: Vec<usize>,
    /// How often each was archived.
    archived: BTreeMap<usize, u64>,
    /// The mail that its second agent brought, which did not fit that agent's journal mode.
    quarantined: usize,
    /// Holds by name, and the mail that each keeps. Both tenants give the same names.
    holds: BTreeMap<String, usize>,
    smtp: Option<SmtpClient>,
}

fn id(mail: &SampleMail) -> String {
    Digest::of(&mail.bytes).to_string()
}

impl Side<'_> {
    fn ctl(&self, numbers: &mut Numbers, arguments: &[&str]) -> Ctl {
        self.cluster.ctl(numbers.below(2), &self.token, arguments)
    }

    fn json(&self, numbers: &mut Numbers, arguments: &[&str]) -> Value {
        let answer = self.ctl(numbers, &[arguments, &["-o", "json"]].concat());
        assert_eq!(answer.code, 0, "{answer:?}");
        answer.json()
    }

    fn archive(&mut self, number: usize) {
        let smtp = self.agent.smtp();
        let client = self.smtp.get_or_insert_with(|| SmtpClient::connect(&smtp).unwrap());
        let mail = &self.mails[number];
        assert_eq!(client.send(&mail.from, &mail.to, &mail.bytes).unwrap().code, 250);
        *self.archived.entry(number).or_default() += 1;
    }

    /// By an agent of the same tenant that waits for another journal mode.
    fn quarantine(&mut self, replica: usize) {
        let options = AgentOptions {
            name: format!("{}/mx2", self.tenant),
            mode: PeerMode::XEnvelopeTo,
            ..AgentOptions::default()
        };
        let mut agent = Agent::in_cluster(self.cluster, replica, options).unwrap();
        agent.start();
        let mail = &self.mails[self.quarantined];
        let reply = SmtpClient::connect(&agent.smtp()).unwrap().send(&mail.from, &mail.to, &mail.bytes);
        assert_eq!(reply.unwrap().code, 250);
        agent.wait_drained(60);
        agent.terminate();
        *self.archived.entry(self.quarantined).or_default() += 1;
    }

    fn hold(&mut self, numbers: &mut Numbers) {
        self.agent.wait_drained(60);
        let archived: Vec<usize> = self.archived.keys().copied().collect();
        let number = archived[numbers.below(archived.len())];
        let name = format!("case-{}", self.holds.len());
        let (id, reason) = (id(&self.mails[number]), self.reason());
        let set = self.ctl(numbers, &["hold", "set", &id, "--name", &name, "--reason", &reason]);
        assert_eq!(set.code, 0, "{set:?}");
        self.holds.insert(name, number);
    }

    fn reason(&self) -> String {
        format!("a matter of {}", self.tenant)
    }

    fn digests(&self) -> BTreeSet<String> {
        self.archived.keys().map(|number| id(&self.mails[*number])).collect()
    }

    /// By every command that names a mail: it is there if this tenant archived it, and else it is unknown.
    fn look_for(&self, numbers: &mut Numbers, number: usize) {
        self.agent.wait_drained(60);
        let (mail, id) = (&self.mails[number], id(&self.mails[number]));
        let out = self.cluster.root().join(format!("{}.out", self.tenant));
        let out = out.to_str().unwrap();
        let is_there = self.archived.contains_key(&number);
        for arguments in [
            ["message", "show", &id].as_slice(),
            &["message", "get", &id, "-o", out],
            &["proof", &id, "-o", out],
        ] {
            let _ = fs::remove_file(out);
            let answer = self.ctl(numbers, arguments);
            assert_eq!(answer.code, i32::from(!is_there), "{} {arguments:?}: {answer:?}", self.tenant);
            if is_there && arguments[1] == "get" {
                assert_eq!(fs::read(out).unwrap(), mail.bytes);
            }
            if !is_there {
                assert!(answer.stderr.contains("no such"), "{answer:?}");
                assert!(!Path::new(out).exists(), "nothing is written of what is not there");
            }
        }
    }

    fn check_lists(&self, numbers: &mut Numbers) {
        self.agent.wait_drained(60);
        let digests = self.digests();
        let page = self.json(numbers, &["search", "*", "--limit", "100"]);
        let hits = texts(&page["results"], "id");
        assert!(hits.is_subset(&digests), "{} finds {hits:?}", self.tenant);
        assert_eq!(page["total"].as_u64(), Some(hits.len() as u64));

        let rows = self.json(numbers, &["completeness"]);
        let counted: u64 = rows["rows"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| number(&row["stored"]) + number(&row["duplicate"]) + number(&row["quarantined"]))
            .sum();
        assert_eq!(counted, self.archived.values().sum::<u64>(), "{}", self.tenant);
        assert_eq!(texts(&rows["rows"], "agent"), own_agents(), "{}", self.tenant);
        for job in self.json(numbers, &["jobs", "list"])["jobs"].as_array().unwrap() {
            let foreign = self.mails.iter().map(id).filter(|id| !digests.contains(id));
            for id in foreign {
                assert!(!job.to_string().contains(digits(&id)), "{} sees {job}", self.tenant);
            }
        }
    }

    /// Holds, quarantine, agents and what will expire.
    fn check_governance(&self, numbers: &mut Numbers) {
        self.agent.wait_drained(60);
        let holds = self.json(numbers, &["hold", "list"]);
        assert_eq!(texts(&holds["holds"], "hold"), self.holds.keys().cloned().collect());
        assert!(texts(&holds["holds"], "reason").iter().all(|reason| *reason == self.reason()), "{holds}");

        let quarantined = self.json(numbers, &["quarantine", "list"]);
        let expected = BTreeSet::from([id(&self.mails[self.quarantined])]);
        assert_eq!(texts(&quarantined["messages"], "id"), expected, "{}", self.tenant);

        let agents = self.json(numbers, &["agents"]);
        assert_eq!(texts(&agents["agents"], "agent"), own_agents());
        let rows = agents["agents"].as_array().unwrap();
        let brought: u64 = rows.iter().map(|row| number(&row["highest_seq"])).sum();
        assert_eq!(brought, self.archived.values().sum::<u64>(), "{} sees {agents}", self.tenant);

        self.check_plan(numbers);
    }

    /// In centuries all of its own mail expires but what it holds.
    fn check_plan(&self, numbers: &mut Numbers) {
        let out = self.cluster.root().join(format!("{}.plan", self.tenant));
        let _ = fs::remove_file(&out);
        let to = out.to_str().unwrap();
        let made = self.ctl(numbers, &["expiry", "plan", "-o", to, "--at", "2999-01-01T00:00:00.000Z"]);
        assert_eq!(made.code, 0, "{made:?}");
        let plan = fs::read_to_string(&out).unwrap();
        let lines: Vec<Value> = plan.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let [header, mails @ .., _end] = lines.as_slice() else { unreachable!("{plan}") };
        assert_eq!(header["tenant"], self.tenant);
        let mut planned = BTreeSet::new();
        for line in mails {
            let message = line["message"].as_str().unwrap();
            planned.insert(message.to_owned());
            let is_of = |number: &usize| id(&self.mails[*number]) == message;
            let held = self.holds.values().any(is_of);
            assert_eq!(line["action"], if held { "keep" } else { "expire" }, "{} {line}", self.tenant);
        }
        assert_eq!(planned, self.digests(), "{}", self.tenant);
    }

    /// What it is told of a query that begins words of everybody's mail.
    fn explained(&self, numbers: &mut Numbers) -> Value {
        self.json(numbers, &["search", "--explain", "re* AND subject:a*"])
    }

    /// Who did what the audit log of this tenant says was done.
    fn actors(&self, numbers: &mut Numbers) -> BTreeSet<String> {
        eventually("the audit log shows leaves", 60, || {
            let audit = self.json(numbers, &["audit", "list", "--limit", "200"]);
            let leaves = audit["leaves"].as_array()?.iter();
            let actors: BTreeSet<String> =
                leaves.filter_map(|leaf| leaf["actor"].as_str().map(str::to_owned)).collect();
            (!actors.is_empty()).then_some(actors)
        })
    }
}

fn own_agents() -> BTreeSet<String> {
    BTreeSet::from(["mx1", "mx2"].map(str::to_owned))
}

/// One field of each entry of a list.
fn texts(list: &Value, field: &str) -> BTreeSet<String> {
    list.as_array().unwrap().iter().map(|entry| entry[field].as_str().unwrap().to_owned()).collect()
}

/// 64-bit numbers are strings in JSON.
fn number(value: &Value) -> u64 {
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap()
}

/// The hexadecimal digits of `sha256:...`.
fn digits(id: &str) -> &str {
    id.trim_start_matches("sha256:")
}

fn files(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            files(&entry.path(), found);
        } else {
            found.push(entry.path().to_str().unwrap().to_owned());
        }
    }
}

#[test]
fn two_tenants_that_do_random_work_by_command_see_nothing_of_each_other() {
    let cluster = Cluster::start(&["acme", "other"]).unwrap();
    let mails = sample_mail(57, 12);
    let mut sides = ["acme", "other"].map(|tenant| {
        let first = if tenant == "acme" { 0 } else { OWN_MAILS };
        Side {
            cluster: &cluster,
            tenant,
            // The agents have the same name, and each knows another replica of ingest.
            agent: agent(&cluster, usize::from(first > 0), &format!("{tenant}/mx1")),
            token: token_file(&cluster, tenant),
            mails: &mails,
            allowed: (first..first + OWN_MAILS).chain(2 * OWN_MAILS..mails.len()).collect(),
            archived: BTreeMap::new(),
            quarantined: first + 1,
            holds: BTreeMap::new(),
            smtp: None,
        }
    });
    let mut numbers = Numbers::seeded(11);
    for (replica, side) in sides.iter_mut().enumerate() {
        side.archive(side.allowed[0]);
        side.quarantine(replica);
    }
    for _ in 0..STEPS {
        let side = numbers.below(2);
        let number = numbers.below(mails.len());
        match numbers.below(7) {
            0 | 1 => {
                let allowed = &sides[side].allowed;
                let number = allowed[numbers.below(allowed.len())];
                sides[side].archive(number);
            }
            2 => sides[side].look_for(&mut numbers, number),
            3 => sides[side].check_lists(&mut numbers),
            4 => sides[side].hold(&mut numbers),
            5 => sides[side].check_governance(&mut numbers),
            _ => {
                let [one, other] = &sides;
                assert_eq!(one.explained(&mut numbers), other.explained(&mut numbers));
            }
        }
    }
    for side in &sides {
        let expected = side.digests().len() as u64;
        eventually("everything is searchable", 60, || {
            let page = side.json(&mut numbers, &["search", "*", "--limit", "1"]);
            (page["total"].as_u64() == Some(expected)).then_some(())
        });
        side.check_lists(&mut numbers);
        side.check_governance(&mut numbers);
        for number in 0..mails.len() {
            side.look_for(&mut numbers, number);
        }
    }
    let [one, other] = &sides;
    let (one, other) = (one.actors(&mut numbers), other.actors(&mut numbers));
    assert!(one.len() == 1 && other.len() == 1 && one != other, "each used one token: {one:?} {other:?}");
    check_surroundings(&cluster, &sides);
}

/// Metrics and logs name no mail of anybody; an object lies in its tenant's folder and its name tells no content.
fn check_surroundings(cluster: &Cluster, sides: &[Side<'_>; 2]) {
    let mut texts = Vec::new();
    for (index, role, replica) in cluster.services() {
        let metrics = cluster.metrics(index);
        assert!(metrics.contains("# EOF"), "{role} {replica} shows metrics");
        texts.push((format!("metrics of {role} {replica}"), metrics));
        texts.push((format!("log of {role} {replica}"), fs::read_to_string(cluster.log(index)).unwrap()));
    }
    let mut objects = Vec::new();
    files(&cluster.root().join("objects"), &mut objects);
    for side in sides {
        let [packs, keys] = ["packs", "keys"].map(|kind| format!("/objects/{kind}/{}/", side.tenant));
        assert!(
            objects.iter().any(|name| name.contains(&packs))
                && objects.iter().any(|name| name.contains(&keys))
        );
    }
    for name in &objects {
        let tenants = sides.iter().filter(|side| name.split('/').any(|part| part == side.tenant)).count();
        assert!(tenants <= 1, "{name} is of one tenant");
    }
    texts.push(("names of objects".into(), objects.join("\n")));
    for (place, text) in texts {
        for mail in sides[0].mails {
            assert!(!text.contains(digits(&id(mail))), "{place}: a mail's digest");
        }
    }
}
