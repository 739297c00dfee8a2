// Pictures: what a tab shows, made of what a client knows. Pure; `now` is ms since 1970.

// client: a Client. contact: whose conversation is open (null: nobody's); from: see Store.window
export function pictureOf(client, contact, from, now) {
  const { state, reason, problem, device, store } = client;
  const cursors = device.inbox.timelines.cursors();
  return {
    state, reason, problem, full: device.outbox.full, contact, from,
    contacts: store.list().map(({ contact, id }) => entryOf(client, contact, id, Boolean(cursors.get(id)), now)),
    conversation: contact === null ? null : conversationOf(client, contact, from, now),
  };
}

// A line of the list of conversations. earlier: there are messages of before this page
function entryOf(client, contact, id, earlier, now) {
  const latest = client.store.latest(contact);
  return { contact, earlier, last: latest?.body ?? null, latest, time: latest?.time ?? 0, ...standingOf(client, contact, id, now) };
}

function conversationOf(client, contact, from, now) {
  const { store, device } = client;
  const { id, whole } = store.open(contact);
  return {
    from, ...store.window(contact, from), whole, deep: !whole && store.deep(contact), cursor: store.newest(contact),
    read: device.inbox.marks.readHere(id), ...standingOf(client, contact, id, now),
  };
}

// How both users stand: unread by this one; mark and presence of the other.
function standingOf({ device: { inbox, watchList }, presence }, contact, id, now) {
  return {
    unread: inbox.unread(id), mark: inbox.mark(id, contact), presence: presence.text(contact, watchList.presence.get(contact), now),
  };
}
