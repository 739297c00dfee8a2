// Which outbox a device of this browser sends from. The device locks it, so that no two send from
// one.

const never = new Promise(() => {});

// The outbox of the one device that all tabs share. It waits for a predecessor that has not quite
// ended.
export async function claimShared(user) {
  const name = outboxName(user, 1);
  // plain http on another host has no locks; there the browser's promise of one worker a name must
  // do
  if (navigator.locks) await new Promise((resolve) => hold(name, {}, resolve));
  return name;
}

// The first that is free, for a tab that is a device of its own; null without locks, since nothing
// would keep two tabs apart.
export async function claimFree(user) {
  for (let number = 1; navigator.locks; number++) {
    const name = outboxName(user, number);
    if (await new Promise((resolve) => hold(name, { ifAvailable: true }, resolve))) return name;
  }
  return null;
}

// A lock that is held until this thread ends: granted(lock), null if it is not to be had.
export function hold(name, options, granted) {
  navigator.locks.request(name, options, (lock) => {
    granted(lock);
    return lock && never;
  });
}

const outboxName = (user, number) => `messenger/${user}/${number}`;
