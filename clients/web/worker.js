// The shared worker: the one device of all tabs of a user in this browser, whose name is the
// worker's. It ends with the last tab.

import { claimShared } from "./claim.js";
import { Tabs } from "./tabs.js";

const tabs = new Tabs(self.name, claimShared);

const worker = /** @type {SharedWorkerGlobalScope} */ (/** @type {unknown} */ (self));
worker.onconnect = ({ ports: [port] }) => tabs.add(port);
