import { existsSync, readFileSync, statSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { freePort } from "../../supervise/index.ts";
import { tlsAlert } from "./client-hello.ts";
import { callPeople, dial, drain, eventually, type GatewayWorld, gatewayWorld } from "./gateway.fixture.ts";

let world: GatewayWorld;
beforeEach(async () => {
  world = await gatewayWorld();
});
afterEach(() => world.stop());

const trafficOf = async (id: string) => {
  const found = (await world.client.list()).find((one) => one.id === id);
  if (!found) throw new Error(`no traffic of ${id}`);
  return found;
};

/** The reset may come before connect(2) is done. */
const turnedAway = (port: number, localAddress = "127.0.0.1") =>
  dial({ port, localAddress }).then(drain, (error: NodeJS.ErrnoException) => (error.code === "ECONNRESET" ? "reset" : error));

test("people reach the tenant they name, by TLS from end to end", async () => {
  for (const id of ["acme", "umbrella"]) {
    await world.serve(id);
    await world.client.put(world.route(id));
  }
  for (const id of ["acme", "umbrella", "ACME"]) {
    const { said, socket } = await callPeople(world, `${id}.default.test`);
    expect(said).toBe(id.toLowerCase());
    socket.end();
  }
  await eventually("all are closed", async () => (await trafficOf("acme")).people.open === 0);
  const { people, lastPeopleAt } = await trafficOf("acme");
  expect(people).toMatchObject({ accepted: 2, refused: {} });
  expect(people.received).toBeGreaterThan(200);
  expect(people.sent).toBeGreaterThan(200);
  expect(Date.parse(lastPeopleAt ?? "")).toBeGreaterThan(Date.now() - 60_000);
});

test("who names nobody, or somebody unknown, is told by an alert; who speaks no TLS is hung up on", async () => {
  await world.serve("acme");
  await world.client.put(world.route("acme"));
  for (const name of [undefined, "acme.default.elsewhere", "default.test"]) {
    await expect(callPeople(world, name)).rejects.toMatchObject({ code: "ERR_SSL_TLSV1_UNRECOGNIZED_NAME" });
  }
  const plain = await dial({ port: world.peoplePort() });
  plain.write("GET / HTTP/1.1\r\n\r\n");
  expect(Buffer.from(await drain(plain))).toHaveLength(0);
  const garbage = await dial({ port: world.peoplePort() });
  garbage.write(Buffer.from([22, 3, 1, 0, 5, 1, 0xff, 0xff, 0xff, 3]));
  expect(await drain(garbage)).toEqual(tlsAlert("decodeError"));
  const silent = await dial({ port: world.peoplePort() });
  silent.end();
  await drain(silent);
  await eventually("the silent one is counted", () => world.gateway.state().refused["nothing said"] === 1);
  expect(world.gateway.state().refused).toEqual({ "no name": 1, "unknown name": 2, "no ClientHello": 2, "nothing said": 1 });
});

test("a hello that comes byte by byte is held together, and what follows is passed on as it is", async () => {
  await world.serve("acme");
  await world.client.put(world.route("acme"));
  // a client behind a relay that sends each byte of the first packet by itself
  const slow = createServer((near) => {
    near.once("data", async (bytes: Buffer) => {
      const far = await dial({ port: world.peoplePort() });
      far.setNoDelay(true);
      for (const byte of bytes) await new Promise<void>((resolve) => far.write(Buffer.from([byte]), () => resolve()));
      near.pipe(far);
      far.pipe(near);
      for (const one of [near, far]) one.on("error", () => {});
    });
  });
  await new Promise<void>((resolve) => slow.listen(0, "127.0.0.1", resolve));
  const address = slow.address();
  const { said, socket } = await callPeople(world, "acme.default.test", typeof address === "object" ? (address?.port ?? 0) : 0);
  expect(said).toBe("acme");
  socket.destroy();
  slow.close();
});

test("megabytes pass both ways, and an end of one way leaves the other open", async () => {
  await world.serve("acme");
  await world.client.put(world.route("acme"));
  const { socket } = await callPeople(world, "acme.default.test");
  const sent = Buffer.alloc(8 * 2 ** 20, "0123456789abcdef");
  const got = drain(socket);
  socket.end(sent);
  expect(sent.equals(Buffer.from(await got))).toBe(true);
});

test("a node's port leads to the apiserver, and a sleeper's is closed at once and wakes nobody", async () => {
  await world.serve("acme");
  const port = await freePort();
  await world.client.put(world.route("acme", { port }));
  const { said, socket } = await callPeople(world, "acme.default.test", port);
  expect(said).toBe("acme");

  const cut = new Promise((resolve) => socket.once("close", resolve));
  await world.client.put(world.route("acme", { port, state: "asleep" }));
  await cut;
  expect(await turnedAway(port)).toBe("reset");
  expect(world.wakes).toEqual([]);
  const { nodes, state } = await trafficOf("acme");
  expect({ state, refused: nodes.refused, accepted: nodes.accepted }).toEqual({ state: "asleep", refused: { asleep: 1 }, accepted: 1 });
});

test("callers of a sleeper are held while it wakes, once for all of them, and then served", async () => {
  world.holdWakes();
  await world.client.put(world.route("acme", { state: "asleep" }));
  const calls = Array.from({ length: 5 }, () => callPeople(world, "acme.default.test"));
  await eventually("all are held", async () => (await trafficOf("acme")).held === 5);
  expect(world.wakes).toEqual(["cell-acme"]);
  await world.serve("acme");
  world.answerWakes("awake");
  expect((await Promise.all(calls)).map(({ said }) => said)).toEqual(Array(5).fill("acme"));
  expect(await trafficOf("acme")).toMatchObject({ state: "opening", woken: true, held: 0, wakes: { done: 1, failed: 0 } });

  // what the daemon has not heard of yet does not put it to sleep again
  await world.client.put(world.route("acme", { state: "asleep" }));
  expect(await trafficOf("acme")).toMatchObject({ state: "opening", people: { open: 5 } });
  await world.client.put(world.route("acme"));
  await world.client.put(world.route("acme", { state: "asleep" }));
  await eventually("they are cut", async () => (await trafficOf("acme")).people.open === 0);
  expect(await trafficOf("acme")).toMatchObject({ state: "asleep", woken: false });
  for (const { socket } of await Promise.all(calls)) socket.destroy();
});

test("a sleeper that does not wake is an alert for its callers, with the reason kept", async () => {
  world.answerWakes("refused");
  await world.client.put(world.route("acme", { state: "asleep" }));
  await expect(callPeople(world, "acme.default.test")).rejects.toMatchObject({ code: "ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR" });
  expect(await trafficOf("acme")).toMatchObject({
    state: "asleep",
    people: { refused: { unreachable: 1 } },
    wakes: { done: 0, failed: 1, lastReason: expect.stringContaining("cell-acme did not become ready") },
  });
});

test("a node that is revoked is dialled no more, asleep or awake, and others are", async () => {
  const egress = (nodes: readonly string[]) => ({
    socket: join(world.dir, "egress.sock"),
    nodes: nodes.map((name, at) => ({ name, addresses: [`10.77.0.${11 + at}`] })),
    podCIDR: "10.244.0.0/16",
    serviceCIDR: "10.96.0.0/16",
  });
  await world.client.put(world.route("acme", { state: "asleep", egress: egress(["a", "b"]) }));
  await world.client.dropNode("acme", "a");
  await world.client.dropNode("acme", "a");
  await world.client.dropNode("nobody", "a");
  const kept = JSON.parse(readFileSync(join(world.dir, "gateway", "routes", "acme.json"), "utf8")) as {
    route: { egress: { nodes: unknown[] } };
  };
  expect(kept.route).toMatchObject({ state: "asleep", egress: { nodes: [{ name: "b" }] } });
});

test("more callers than are held are turned away, and who hangs up makes room", async () => {
  world.holdWakes();
  await world.client.put(world.route("acme", { state: "asleep", limits: { people: { burst: 500, perSecond: 500 } } }));
  const calls = Array.from({ length: 128 }, () => callPeople(world, "acme.default.test"));
  for (const call of calls) call.catch(() => {});
  await eventually("all are held", async () => (await trafficOf("acme")).held === 128);
  await expect(callPeople(world, "acme.default.test")).rejects.toMatchObject({ code: "ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR" });
  const quitter = await dial({ port: world.peoplePort() });
  quitter.destroy();
  world.answerWakes("refused");
  expect((await Promise.allSettled(calls)).every(({ status }) => status === "rejected")).toBe(true);
  await eventually("nobody is left", async () => (await trafficOf("acme")).held === 0);
});

test("a held caller who hangs up is forgotten", async () => {
  world.holdWakes();
  await world.serve("acme");
  await world.client.put(world.route("acme", { state: "asleep" }));
  const { connect } = await import("node:tls");
  const caller = connect({ host: "127.0.0.1", port: world.peoplePort(), servername: "acme.default.test", ca: world.ca });
  caller.on("error", () => {});
  await eventually("it is held", async () => (await trafficOf("acme")).held === 1);
  caller.destroy();
  await eventually("it is forgotten", async () => (await trafficOf("acme")).held === 0);
  expect(await trafficOf("acme")).toMatchObject({ people: { open: 0, refused: {} } });
  world.answerWakes("awake");
});

test("an apiserver whose door restarts is waited for as a sleeper is", async () => {
  await world.client.put(world.route("acme"));
  world.holdWakes();
  const call = callPeople(world, "acme.default.test");
  await eventually("the supervisor is asked", () => world.wakes.length === 1);
  await world.serve("acme");
  world.answerWakes("awake");
  const { said, socket } = await call;
  expect(said).toBe("acme");
  socket.destroy();
});

test("limits are a tenant's own: connections at a time, and new ones over time", async () => {
  for (const id of ["acme", "umbrella"]) await world.serve(id);
  const port = await freePort();
  await world.client.put(world.route("acme", { port, limits: { people: { connections: 2 }, nodes: { perSecond: 0.001, burst: 3 } } }));
  await world.client.put(world.route("umbrella"));
  const held = await Promise.all([1, 2].map(() => callPeople(world, "acme.default.test")));
  await expect(callPeople(world, "acme.default.test")).rejects.toMatchObject({ code: "ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR" });
  held.push(await callPeople(world, "umbrella.default.test"));
  for (const _ of [1, 2, 3]) held.push(await callPeople(world, "acme.default.test", port));
  expect(await turnedAway(port)).toBe("reset");
  expect(await trafficOf("acme")).toMatchObject({
    people: { open: 2, refused: { "too many connections": 1 } },
    nodes: { open: 3, refused: { "too many new connections": 1 } },
  });
  held[0]?.socket.destroy();
  await eventually("there is room again", async () => (await trafficOf("acme")).people.open === 1);
  held.push(await callPeople(world, "acme.default.test"));
  for (const { socket } of held) socket.destroy();
});

test("strangers who hold all they can at a tenant's port leave its nodes what is theirs", async () => {
  await world.serve("acme");
  const port = await freePort();
  const egress = { socket: join(world.dir, "egress.sock"), podCIDR: "10.244.0.0/16", serviceCIDR: "10.96.0.0/16" };
  const nodes = [{ name: "bios-1", addresses: ["127.0.0.9"] }];
  const limits = { nodes: { connections: 4, perAddress: { connections: 3 } } };
  await world.client.put(world.route("acme", { port, limits, egress: { ...egress, nodes } }));
  const from = (localAddress: string) => dial({ port, localAddress });
  const held = [];
  for (const address of ["127.0.0.1", "127.0.0.1", "127.0.0.1", "127.0.0.2"]) held.push(await from(address));
  await eventually("all are in", async () => (await trafficOf("acme")).nodes.open === 4);
  expect(await turnedAway(port)).toBe("reset");
  expect(await turnedAway(port, "127.0.0.2")).toBe("reset");
  held.push(await from("127.0.0.9"));
  await eventually("the node is in", async () => (await trafficOf("acme")).nodes.open === 5);
  expect((await trafficOf("acme")).nodes.refused).toEqual({ "too many connections": 1, "too many connections of one address": 1 });
  for (const socket of held) socket.destroy();
});

test("after its own end it serves at once what it served before, and remembers who was woken", async () => {
  await world.serve("acme");
  const port = await freePort();
  await world.client.put(world.route("acme", { port, state: "asleep" }));
  (await callPeople(world, "acme.default.test")).socket.destroy();
  await world.restart();
  expect(await trafficOf("acme")).toMatchObject({ state: "opening", woken: true });
  const { said, socket } = await callPeople(world, "acme.default.test");
  expect(said).toBe("acme");
  socket.destroy();
  // nodes wait until the daemon has seen to who may come in
  await expect(callPeople(world, "acme.default.test", port)).rejects.toMatchObject({ code: "ECONNRESET" });
  await world.client.put(world.route("acme", { port }));
  const byPort = await callPeople(world, "acme.default.test", port);
  expect(byPort.said).toBe("acme");
  byPort.socket.destroy();
});

test("a route that is removed leaves no listener, no connection and no file", async () => {
  await world.serve("acme");
  const port = await freePort();
  const egress = { socket: join(world.dir, "egress.sock"), podCIDR: "10.244.0.0/16", serviceCIDR: "10.96.0.0/16" };
  await world.client.put(world.route("acme", { port, egress }));
  expect(statSync(egress.socket).mode & 0o777).toBe(0o660);
  const { socket } = await callPeople(world, "acme.default.test");
  const idle = await dial({ path: egress.socket });
  const hungUp = Promise.all([new Promise((resolve) => socket.once("close", resolve)), drain(idle)]);
  await world.client.remove("acme");
  await hungUp;
  await world.client.remove("acme");
  await expect(dial({ port })).rejects.toMatchObject({ code: "ECONNREFUSED" });
  expect([egress.socket, join(world.dir, "gateway", "routes", "acme.json")].filter((file) => existsSync(file))).toEqual([]);
  await expect(callPeople(world, "acme.default.test")).rejects.toMatchObject({ code: "ERR_SSL_TLSV1_UNRECOGNIZED_NAME" });
  expect(await world.client.list()).toEqual([]);
});

test("a name moves with its route", async () => {
  await world.serve("acme");
  await world.client.put(world.route("acme"));
  await world.client.put(world.route("acme", { names: ["acme.default.test", "other.test"] }));
  await world.client.put(world.route("acme", { names: ["other.test"] }));
  await expect(callPeople(world, "acme.default.test")).rejects.toMatchObject({ code: "ERR_SSL_TLSV1_UNRECOGNIZED_NAME" });
});

test.each<[string, object, string]>([
  ["a field that is missing", { api: undefined }, "api:"],
  ["a field nobody knows", { colour: "red" }, "colour"],
  ["a relative path", { api: "api.sock" }, "api: must be an absolute path"],
  ["a path no socket can have", { api: `/${"a".repeat(108)}` }, "api: the path of a socket has at most 107 bytes"],
  ["a port beyond all", { port: 65536 }, "port:"],
  ["a name that is none", { names: ["Acme_"] }, "names.0: must be a DNS name"],
  ["a network that is none", { egress: { socket: "/e", podCIDR: "10.244.0.1/16", serviceCIDR: "10.96.0.0/16" } }, "egress.podCIDR"],
  ["the port of another", { port: "taken" }, "is that of default.umbrella (umbrella)"],
  ["the name of another", { names: ["umbrella.default.test"] }, "names: umbrella.default.test is that of default.umbrella"],
])("%s is refused, and nothing changes", async (_, change, problem) => {
  const port = await freePort();
  await world.client.put(world.route("umbrella", { port }));
  const route = { ...world.route("acme"), ...change, ...("port" in change && change.port === "taken" ? { port } : {}) };
  await expect(world.client.put(route)).rejects.toMatchObject({
    code: "IRW_GATEWAY_ROUTE",
    facts: { tenant: "acme", problem: expect.stringContaining(problem) },
  });
  expect((await world.client.list()).map(({ id }) => id)).toEqual(["umbrella"]);
});

test("a port somebody else has is said, and had as soon as it is free", async () => {
  const port = await freePort();
  const squatter = createServer();
  await new Promise<void>((resolve) => squatter.listen(port, "127.0.0.1", resolve));
  await world.serve("acme");
  await expect(world.client.put(world.route("acme", { port }))).rejects.toMatchObject({
    code: "IRW_GATEWAY_ROUTE",
    facts: { problem: expect.stringContaining("EADDRINUSE") },
  });
  expect((await trafficOf("acme")).problems).toEqual([expect.stringContaining(`127.0.0.1:${port}`)]);
  // its people do not care
  (await callPeople(world, "acme.default.test")).socket.destroy();
  await new Promise((resolve) => squatter.close(resolve));
  await eventually("the port is had", async () => (await trafficOf("acme")).problems.length === 0);
  await world.client.put(world.route("acme", { port }));
  (await callPeople(world, "acme.default.test", port)).socket.destroy();
});

test("a gateway that does not run is told by a code", async () => {
  await world.gateway.stop();
  await expect(world.client.list()).rejects.toMatchObject({ code: "IRW_GATEWAY_UNREACHABLE" });
});
