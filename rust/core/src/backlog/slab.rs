//! Lists of values that share one piece of memory: a value is added, taken out of the middle or moved to the end in
//! constant time, and its place does not change while it is listed.

const NONE: u32 = u32::MAX;

/// One list: its first and last place.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    first: u32,
    last: u32,
    len: u32,
}

impl Default for List {
    fn default() -> Self {
        Self { first: NONE, last: NONE, len: 0 }
    }
}

impl List {
    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    pub(super) fn first(&self) -> Option<u32> {
        (self.first != NONE).then_some(self.first)
    }
}

#[derive(Debug)]
struct Slot<T> {
    value: T,
    before: u32,
    /// The next of the list, or of the free slots.
    behind: u32,
}

/// The memory of many lists. A free slot holds `T::default()`.
#[derive(Debug)]
pub(super) struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: u32,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: NONE }
    }
}

impl<T: Default> Slab<T> {
    /// What one value costs.
    pub(super) const COST: usize = size_of::<Slot<T>>();

    pub(super) fn capacity(&self) -> usize {
        self.slots.capacity()
    }

    pub(super) fn get(&self, place: u32) -> &T {
        &self.slots[place as usize].value
    }

    pub(super) fn get_mut(&mut self, place: u32) -> &mut T {
        &mut self.slots[place as usize].value
    }

    /// Adds `value` at the end of `list` and returns its place.
    pub(super) fn push(&mut self, list: &mut List, value: T) -> u32 {
        let place = self.free;
        let place = if place == NONE {
            assert!(self.slots.len() < NONE as usize, "places have 32 bits");
            self.slots.push(Slot { value, before: NONE, behind: NONE });
            self.slots.len() as u32 - 1
        } else {
            let slot = &mut self.slots[place as usize];
            self.free = slot.behind;
            slot.value = value;
            place
        };
        self.attach(list, place);
        place
    }

    /// Takes the value at `place` out of `list`, of which it is one.
    pub(super) fn remove(&mut self, list: &mut List, place: u32) -> T {
        self.detach(list, place);
        let slot = &mut self.slots[place as usize];
        slot.behind = self.free;
        self.free = place;
        std::mem::take(&mut slot.value)
    }

    /// Makes the value at `place`, one of `list`, the last one.
    pub(super) fn move_to_end(&mut self, list: &mut List, place: u32) {
        if list.last != place {
            self.detach(list, place);
            self.attach(list, place);
        }
    }

    /// The places of `list`, from its end.
    pub(super) fn backwards(&self, list: &List) -> impl Iterator<Item = u32> {
        let mut place = list.last;
        std::iter::from_fn(move || {
            let this = place;
            (this != NONE).then(|| {
                place = self.slots[this as usize].before;
                this
            })
        })
    }

    fn attach(&mut self, list: &mut List, place: u32) {
        let slot = &mut self.slots[place as usize];
        (slot.before, slot.behind) = (list.last, NONE);
        match std::mem::replace(&mut list.last, place) {
            NONE => list.first = place,
            before => self.slots[before as usize].behind = place,
        }
        list.len += 1;
    }

    fn detach(&mut self, list: &mut List, place: u32) {
        let Slot { before, behind, .. } = self.slots[place as usize];
        match before {
            NONE => list.first = behind,
            before => self.slots[before as usize].behind = behind,
        }
        match behind {
            NONE => list.last = before,
            behind => self.slots[behind as usize].before = before,
        }
        list.len -= 1;
    }
}
