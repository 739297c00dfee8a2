/** What is shown of an overview (schemas/fleet.py:Overview): of the whole system, or of one worker. */

import { el, number, plot, span } from "./dom.js";

/**
 * @typedef {{ partition: number, status: string, reason: string, waiting_for: string | null, lag: number | null,
 *   restoring?: [number, number] | null, dead_letters?: number | null,
 *   snapshot?: { age_seconds: number | null, rows: number | null, problem: string } }} Partition
 * @typedef {{ name: string, topic: string, of: number, rate: number, figures: Record<string, number>, rebalances: number,
 *   rebalancing: boolean, partitions: Partition[] }} Stage
 * @typedef {{ count: number, p50: number, p95: number, p99: number }} Latency
 * @typedef {{ id: string, slot: number | null, ready: boolean, connections: number, rates: Record<string, number>,
 *   figures: Record<string, number>, delivery: Latency | null,
 *   probe: { partition: number, took: Record<string, number>, failed: string } | null }} GatewayNode
 * @typedef {{ kind: string, address: string, began: number, problems: string[], away: Record<string, string>,
 *   history: Record<string, number[]>, stages: Stage[], node: GatewayNode | null }} Report
 * @typedef {{ age: number, report: Report }} Seen
 * @typedef {{ level: string, part: string, what: string, do: string }} Finding
 * @typedef {{ now: number, by: string, parts: Seen[], findings: Finding[] }} Overview
 */

const FRESH_SECONDS = 6;
const SYSTEMS = { kafka: "Kafka", redis: "Redis", clickhouse: "ClickHouse", disk: "Disks" };
const UNITS = /** @type {Record<string, string>} */ ({ sequencer: "messages/s", "archiver-messages": "rows/s", "archiver-cursors": "rows/s" });

/** @param {Overview} seen */
export function wholeSystem(seen) {
  const fresh = seen.parts.filter((part) => part.age <= FRESH_SECONDS).map((part) => part.report);
  return [
    findings(seen.findings, "Everything that must run runs, and nobody need do anything."),
    systems(fresh),
    el("section", { class: "tiles", "aria-label": "Now" }, ...tiles(fresh)),
    gateways(seen),
    partitions(seen, fresh),
    workers(seen),
  ];
}

/** @param {Overview} seen @param {string} address */
export function oneWorker(seen, address) {
  const part = seen.parts.find((one) => one.report.kind === "worker" && one.report.address === address);
  const title = el("h1", {}, `Worker ${address}`);
  if (!part) return [title, el("p", {}, "No worker has said anything from there in the last ten minutes.")];
  const { report, age } = part;
  const here = seen.findings.filter((one) => one.part === `worker ${address}` || report.stages.some((stage) => one.part.startsWith(`${stage.name} partition`)
    && stage.partitions.some((p) => one.part === `${stage.name} partition ${p.partition}`)));
  const rest = [
    findings(here, "This worker has no problems."),
    systems([report]),
    el("section", { class: "tiles", "aria-label": "Stages" }, ...report.stages.map((stage) => tile(
      stage.name, number(stage.rate), UNITS[stage.name] ?? "facts/s", `${stage.rebalances} rebalances${stage.rebalancing ? ", one now" : ""}`,
      report.history[stage.name] ?? []))),
    el("section", { class: "card" }, el("h2", {}, "Partitions"), partitionTable(report)),
    el("section", { class: "card" }, el("h2", {}, "Since its start"), figuresTable(report)),
  ];
  const since = `its report is ${span(age)} old; it began ${span((seen.now - report.began) / 1000)} ago`;
  return [el("div", {}, title, el("span", { class: age > FRESH_SECONDS ? "bad" : "quiet" }, since)), ...rest];
}

/** @param {Finding[]} found @param {string} none What to say if there are none. */
function findings(found, none) {
  if (!found.length) return el("p", { class: "card good", id: "well" }, none);
  return el("ul", { class: "findings", "aria-label": "What is the case" }, ...found.map((one) => {
    const line = el("li", { "data-level": one.level }, el("strong", {}, one.part), `: ${one.what}`);
    if (one.do) line.append(el("span", { class: "do" }, one.do));
    return line;
  }));
}

/** @param {Report[]} fresh */
function systems(fresh) {
  const archives = fresh.some((report) => report.stages.some((stage) => stage.name.startsWith("archiver")));
  return el("ul", { class: "systems", "aria-label": "Outside systems" }, ...Object.entries(SYSTEMS)
    .filter(([name]) => name !== "clickhouse" || archives || fresh.some((report) => report.away[name]))
    .map(([name, title]) => {
      const away = fresh.filter((report) => report.away[name]);
      const level = !fresh.length ? "unknown" : away.length ? "problem" : "good";
      const told = away.length ? `${title}: away for ${away.length} of ${fresh.length}` : title;
      return el("li", { "data-level": level, "data-system": name, title: away.map((report) => `${report.address}: ${report.away[name]}`).join("\n") }, told);
    }));
}

/** @param {Report[]} fresh */
function tiles(fresh) {
  const nodes = fresh.filter((report) => report.node);
  const stages = fresh.flatMap((report) => report.stages);
  const owned = stages.flatMap((stage) => stage.partitions);
  const sequencers = stages.filter((stage) => stage.name === "sequencer");
  const slowest = nodes.map((report) => report.node?.delivery).filter((latency) => !!latency)
    .sort((a, b) => b.p99 - a.p99)[0];
  const probes = nodes.map((report) => report.node?.probe).filter((probe) => !!probe);
  const failed = probes.filter((probe) => probe.failed).length;
  const lag = sum(owned.map((partition) => partition.lag ?? 0));
  const ages = owned.map((partition) => partition.snapshot?.age_seconds).filter((age) => age != null);
  const archived = stages.filter((stage) => stage.name === "archiver-messages");
  const dead = sum(owned.map((partition) => partition.dead_letters ?? 0));
  const halted = owned.filter((partition) => partition.status === "halted").length;
  return [
    tile("Messages", number(sum(sequencers.map((stage) => stage.rate))), "/s",
      `${number(sum(sequencers.map((stage) => stage.figures.messages ?? 0)))} since the workers began`, added(fresh, "sequencer")),
    tile("Connections", number(sum(nodes.map((report) => report.node?.connections ?? 0))), "",
      `on ${nodes.length} gateway${nodes.length === 1 ? "" : "s"}`, added(nodes, "connections")),
    tile("Delivery, p99", slowest ? `≤ ${number(slowest.p99)}` : "–", slowest ? "ms" : "",
      slowest ? `p50 ≤ ${number(slowest.p50)}, p95 ≤ ${number(slowest.p95)} ms; last minute` : "no message in the last minute", most(nodes, "delivery")),
    tile("Probe", probes.length ? number(Math.max(...probes.map((probe) => probe.took.send ?? 0))) : "off", probes.length ? "ms" : "",
      probes.length ? `send and answer, the slowest node; ${number(Math.max(...probes.map((probe) => probe.took.shown ?? 0)))} ms until shown; ${failed ? `${failed} failed` : "none failed"}` : "MESSENGER_PROBE_SECONDS", most(nodes, "probe")),
    tile("Waits to be read", number(lag), "records", `${owned.length} partitions, ${halted} halted`, null),
    ...(archived.length ? [tile("Archived", number(sum(archived.map((stage) => stage.rate))), "rows/s",
      `records that wait: ${number(sum(archived.flatMap((stage) => stage.partitions.map((partition) => partition.lag ?? 0))))}`, added(fresh, "archiver-messages"))] : []),
    tile("Oldest snapshot", ages.length ? span(Math.max(...ages.map(Number))) : "none", "", ages.length ? `${ages.length} of ${sum(sequencers.map((stage) => stage.partitions.length))} partitions have one` : "one a day, once something has changed", null),
    tile("Rebalances", number(sum(stages.map((stage) => stage.rebalances))), "", stages.some((stage) => stage.rebalancing) ? "one is going on" : "since the workers began", null),
    tile("Dead letters", number(dead), "", "that Kafka keeps; 30 days", null),
  ];
}

/** @param {string} name @param {string} value @param {string} unit @param {string} more @param {number[] | null} values */
function tile(name, value, unit, more, values) {
  const made = el("div", { class: "card tile", "data-tile": name }, el("span", { class: "name" }, name),
    el("span", { class: "value" }, value, el("small", {}, ` ${unit}`)), el("span", { class: "more" }, more));
  if (values) made.append(plot(values, name));
  return made;
}

/** @param {Overview} seen */
function gateways(seen) {
  const nodes = seen.parts.filter((part) => part.report.node);
  return el("section", { class: "card", id: "gateways" }, el("h2", {}, `Gateways (${nodes.length})`), table(
    ["gateway", "state", "#slot", "#connections", "#sends/s", "#pushes/s", "#p50 ms", "#p99 ms", "#probe sent ms", "#probe shown ms", "#refused", "#up"],
    nodes.map(({ age, report }) => {
      const node = /** @type {GatewayNode} */ (report.node);
      return [report.address, state(age, report.problems.length ? "unwell" : node.ready ? "ready" : "not ready", node.ready && !report.problems.length),
        String(node.slot ?? "–"), number(node.connections), number(node.rates.submitted ?? 0), number(node.rates.pushed ?? 0),
        node.delivery ? `≤ ${number(node.delivery.p50)}` : "–", node.delivery ? `≤ ${number(node.delivery.p99)}` : "–",
        ...["send", "shown"].map((step) => node.probe ? (node.probe.failed ? "failed" : number(node.probe.took[step] ?? 0)) : "–"),
        number(node.figures.turned_away ?? 0), span((seen.now - report.began) / 1000)];
    })));
}

/** @param {Overview} seen */
function workers(seen) {
  const found = seen.parts.filter((part) => part.report.kind === "worker");
  return el("section", { class: "card", id: "workers" }, el("h2", {}, `Workers (${found.length})`), table(
    ["worker", "state", "stages", "#partitions", "#up"],
    found.map(({ age, report }) => [
      el("a", { href: `#${report.address}` }, report.address), state(age, report.problems.length ? "unwell" : "runs", !report.problems.length),
      report.stages.map((stage) => stage.name).join(", "), String(sum(report.stages.map((stage) => stage.partitions.length))),
      span((seen.now - report.began) / 1000),
    ])));
}

/** @param {number} age @param {string} word @param {boolean} good */
function state(age, word, good) {
  const dead = age > FRESH_SECONDS;
  return el("span", { class: "dot", "data-level": dead ? "unknown" : good ? "good" : "problem" }, dead ? `silent for ${span(age)}` : word);
}

/** @param {Overview} seen @param {Report[]} fresh */
function partitions(seen, fresh) {
  const names = [...new Set(seen.parts.flatMap((part) => part.report.stages.map((stage) => stage.name)))];
  const rows = names.map((name) => {
    const stages = seen.parts.flatMap((part) => part.report.stages).filter((stage) => stage.name === name);
    const here = fresh.flatMap((report) => report.stages.filter((stage) => stage.name === name)
      .flatMap((stage) => stage.partitions.map((partition) => ({ partition, address: report.address }))));
    const by = new Map(here.map((one) => [one.partition.partition, one]));
    const cells = Array.from({ length: Math.max(...stages.map((stage) => stage.of)) }, (_, i) => cell(i, by.get(i)));
    const rate = sum(fresh.flatMap((report) => report.stages).filter((stage) => stage.name === name).map((stage) => stage.rate));
    return [name, number(rate), number(sum(here.map((one) => one.partition.lag ?? 0))), el("div", { class: "cells" }, ...cells)];
  });
  return el("section", { class: "card", id: "partitions" }, el("h2", {}, "Stages and partitions"),
    table(["stage", "#work/s", "#lag", "partitions, with their lag if any"], rows));
}

/** @param {number} i @param {{ partition: Partition, address: string } | undefined} owned */
function cell(i, owned) {
  if (!owned) return el("span", { class: "cell", "data-level": "unknown", title: `${i}: no worker has it` }, `${i} –`);
  const { partition, address } = owned;
  const level = partition.status !== "running" || partition.reason ? "problem" : partition.lag ? "behind" : "good";
  const told = partition.status !== "running" ? partition.status : partition.lag ? `+${number(partition.lag)}` : "";
  const title = `${i} at ${address}: ${partition.status}, lag ${partition.lag ?? "not known"} ${partition.reason || partition.waiting_for || ""}`;
  return el("span", { class: "cell", "data-level": level, title }, `${i} ${told}`.trim());
}

/** @param {Report} report */
function partitionTable(report) {
  return table(["partition", "state", "#lag", "why", "#snapshot", "#dead letters"], report.stages.flatMap((stage) => stage.partitions.map((partition) => {
    const restoring = partition.restoring ? ` ${number(partition.restoring[0])} of ${number(partition.restoring[1])}` : "";
    return [`${stage.name} ${partition.partition}`,
      el("span", { class: "dot", "data-level": partition.status === "running" ? "good" : "problem" }, partition.status + restoring),
      partition.lag == null ? "–" : number(partition.lag), partition.reason || partition.waiting_for || partition.snapshot?.problem || "–",
      partition.snapshot?.age_seconds != null ? `${span(partition.snapshot.age_seconds)} old` : "–",
      partition.dead_letters != null ? number(partition.dead_letters) : "–"];
  })));
}

/** @param {Report} report */
function figuresTable(report) {
  return table(["stage", "figures"], report.stages.map((stage) => [stage.name,
    Object.entries(stage.figures).map(([name, value]) => `${name.replaceAll("_", " ")} ${number(value)}`).join(", ") || "–"]));
}

/**
 * @param {string[]} heads A name that begins with # is that of numbers.
 * @param {(string | Node)[][]} rows
 */
function table(heads, rows) {
  const names = heads.map((head) => head.replace("#", ""));
  const kind = heads.map((head) => (head.startsWith("#") ? "number" : ""));
  return el("table", { class: "stack" },
    el("thead", {}, el("tr", {}, ...names.map((name, i) => el("th", { class: kind[i] }, name)))),
    el("tbody", {}, ...rows.map((row) => el("tr", {}, ...row.map((value, i) => el("td", { class: value === "–" ? `${kind[i]} none` : kind[i], "data-name": names[i] }, value))))));
}

/** @param {number[]} values */
function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}

/** The sums of what some processes were at the same time. @param {Report[]} reports @param {string} name */
function added(reports, name) {
  return together(reports, name, (a, b) => a + b);
}

/** The largest of it. @param {Report[]} reports @param {string} name */
function most(reports, name) {
  return together(reports, name, (a, b) => Math.max(a, b));
}

/** @param {Report[]} reports @param {string} name @param {(a: number, b: number) => number} join */
function together(reports, name, join) {
  const histories = reports.map((report) => report.history[name] ?? []);
  const length = Math.max(0, ...histories.map((history) => history.length));
  return Array.from({ length }, (_, i) => histories.map((history) => history[history.length - length + i] ?? 0).reduce(join, 0));
}
