//! The ways on which the resources of a schema lead to each other. Each way is compiled by itself.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::rc::Rc;

use bounded_jq::meter::spend;

use super::names::Resource;

/// The most bytes of schemas that are compiled for the ways on which the resources (schemas with an
/// `$id`) lead to each other.
const MAX_SCOPED: usize = 16 * 1024 * 1024;
/// The approximate memory of a compiled schema, in bytes.
const SCHEMA_BYTES: usize = 1024;

/// The number of a group of resources that one reference may lead to.
type Group = usize;

/// The resources that each resource leads to.
#[derive(Debug)]
pub(super) struct Ways {
    /// By resource: the resources that it leads to.
    direct: Vec<BTreeSet<Resource>>,
    /// By resource: the groups to any member of which it leads. Naming their members for each
    /// resource would take the product of the two.
    groups: Vec<BTreeSet<Group>>,
    members: HashMap<Group, BTreeSet<Resource>>,
    /// By resource: the bytes of its schemas once compiled.
    sizes: Vec<usize>,
}

impl Ways {
    /// Makes the resources, with no ways between them yet. `names` are the bytes that the names of
    /// their places take.
    pub(super) fn new(names: Vec<usize>) -> Self {
        let resources = names.len();
        Self {
            direct: vec![BTreeSet::new(); resources],
            groups: vec![BTreeSet::new(); resources],
            members: HashMap::new(),
            sizes: names,
        }
    }

    /// Notes a schema of a resource.
    pub(super) fn add_schema(&mut self, resource: Resource) {
        if let Some(size) = self.sizes.get_mut(resource) {
            *size += SCHEMA_BYTES;
        }
    }

    /// Notes that one resource leads to another.
    pub(super) fn lead(&mut self, from: Resource, to: Resource) {
        if let Some(all) = self.direct.get_mut(from).filter(|_| from != to) {
            all.insert(to);
        }
    }

    /// Notes the members of a group.
    pub(super) fn form(&mut self, group: Group, members: BTreeSet<Resource>) {
        self.members.insert(group, members);
    }

    /// Notes that a resource leads to any member of a group.
    pub(super) fn lead_to_group(&mut self, from: Resource, group: Group) {
        match self.members.get(&group).map(|all| (all.len(), all.first().copied())) {
            None | Some((0, _)) => {}
            Some((1, only)) => only.into_iter().for_each(|to| self.lead(from, to)),
            Some(_) => {
                if let Some(all) = self.groups.get_mut(from) {
                    all.insert(group);
                }
            }
        }
    }

    /// Walks all ways; the error says that they take more than may be compiled.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.direct.iter().all(BTreeSet::is_empty) && self.groups.iter().all(BTreeSet::is_empty)
        {
            return Ok(());
        }
        let mut left = MAX_SCOPED;
        let mut take = |at: Resource| {
            let size = self.sizes.get(at).copied().unwrap_or_default().max(SCHEMA_BYTES);
            left = left
                .checked_sub(size)
                .ok_or("its resources refer to each other in too many ways")?;
            Ok::<_, &str>((at, self.beyond(at)))
        };
        let mut on_way = HashSet::from([0]);
        let mut way = vec![take(0)?];
        while let Some((at, beyond)) = way.last_mut() {
            spend(1);
            match beyond.next() {
                Some(to) if on_way.insert(to) => way.push(take(to)?),
                Some(_) => {}
                None => {
                    on_way.remove(at);
                    way.pop();
                }
            }
        }
        Ok(())
    }

    /// Returns the resources that one leads to, each once.
    fn beyond(&self, at: Resource) -> Box<dyn Iterator<Item = Resource> + '_> {
        let direct = self.direct.get(at);
        let groups = self.groups.get(at).into_iter().flatten();
        let groups: Rc<[_]> = groups.filter_map(|group| self.members.get(group)).collect();
        let members = (0..groups.len()).flat_map(move |number| {
            let before = Rc::clone(&groups);
            let members = before.get(number).copied().into_iter().flatten();
            members.copied().filter(move |to| {
                let mut before = before.iter().take(number).inspect(|_| spend(1));
                !direct.is_some_and(|all| all.contains(to)) && !before.any(|all| all.contains(to))
            })
        });
        Box::new(direct.into_iter().flatten().copied().chain(members))
    }
}
