// Pictures: what a tab shows, made of what a client knows. Pure; `now` is ms since 1970.

// client: a Client. contact: whose conversation is open (null: nobody's); from: see Store.window
export function pictureOf(client, contact, from, now) {
  const { state, reason, problem, device, store } = client;
  const cursors = device.inbox.timelines.cursors();
  return {
    state, reason, problem, full: device.outbox.full, contact, from,
    contacts: store.list().map(({ contact, id }) => entryOf(client, contact, Boolean(cursors.get(id)), now)),
    conversation: contact === null ? null : conversationOf(client, contact, from, now),
  };
}

// A line of the list of conversations. earlier: there are messages of before this page
function entryOf(client, contact, earlier, now) {
  const latest = client.store.latest(contact);
  const { request = false } = client.device.people.people.get(contact) ?? {};
  return { contact, earlier, request, last: latest?.body ?? null, latest, time: latest?.time ?? 0, ...looksOf(client, contact, now) };
}

function conversationOf(client, contact, from, now) {
  const { store, device } = client;
  const { id, whole } = store.open(contact);
  const { blocked = false, request = false } = device.people.people.get(contact) ?? {};
  return {
    from, ...store.window(contact, from), whole, deep: !whole && store.deep(contact), cursor: store.newest(contact),
    read: device.inbox.marks.readHere(id), blocked, request, ...looksOf(client, contact, now),
  };
}

const looksOf = (client, contact, now) => ({
  ...standingOf(client, client.store.open(contact)),
  presence: client.presence.text(contact, client.device.watchList.presence.get(contact), now),
});

// How both users stand: the mark of the other, what this one has not read. `kept`: how they stood in
// an earlier life; marks never fall.
export function standingOf({ device: { inbox } }, { contact, id, kept }) {
  const { received, read } = inbox.mark(id, contact);
  const mark = { received: Math.max(received, kept.mark.received), read: Math.max(read, kept.mark.read) };
  return { mark, unread: inbox.log ? inbox.unread(id) : kept.unread };
}
