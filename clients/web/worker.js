// The shared worker: the one device of all tabs of a user in this browser, whose name is the
// worker's. It ends with the last tab.

import { claimShared } from "./claim.js";
import { Tabs } from "./tabs.js";

const tabs = new Tabs(self.name, claimShared);

self.onconnect = ({ ports: [port] }) => tabs.add(port);
