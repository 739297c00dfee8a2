// Which device this window is: each open window of a user in this browser is one of its own, and the first keeps its id and
// its outbox over restarts.

const never = new Promise(() => {});

// { id, outbox }: the device id, and the name of its outbox on disk (null where the browser cannot keep one).
export async function claimDevice(user, newId) {
  if (!navigator.locks || !globalThis.indexedDB) {
    // plain http on another host than this one has no locks
    const id = sessionStorage.getItem("device") ?? fresh(newId);
    sessionStorage.setItem("device", id);
    return { id, outbox: null };
  }
  for (let number = 1; ; number++) {
    const name = `messenger/${user}/${number}`;
    if (await claim(name)) {
      const id = localStorage.getItem(name) ?? fresh(newId);
      localStorage.setItem(name, id);
      return { id, outbox: name };
    }
  }
}

const fresh = (newId) => `web-${newId().slice(0, 12)}`;

// Held until the window is closed.
const claim = (name) => new Promise((resolve) => {
  navigator.locks.request(name, { ifAvailable: true }, (lock) => {
    resolve(lock !== null);
    return lock && never;
  });
});
