import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { pino } from "pino";
import { afterEach, expect, test } from "vitest";
import { dial, drain, eventually } from "./gateway.fixture.ts";
import { servePeople } from "./people.ts";
import { relay } from "./relay.ts";
import { parseRoute } from "./route.ts";
import { tally } from "./tally.ts";
import type { Tenant } from "./tenant.ts";
import { turnstile } from "./turnstile.ts";

const servers: Server[] = [];
afterEach(async () => {
  await Promise.all(servers.splice(0).map((one) => new Promise<void>((resolve) => one.close(() => resolve()))));
});

async function listen(server: Server): Promise<number> {
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

const log = pino({ level: "silent" });

/** A tenant that never wakes. */
function sleeper(): Tenant {
  const route = parseRoute({ id: "acme", ref: { namespace: "default", name: "acme" }, state: "asleep", api: "/none", cell: "acme" });
  const stile = turnstile(
    () => route.limits.people,
    () => performance.now(),
  );
  const never = (signal: AbortSignal) =>
    new Promise<Socket>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason), { once: true }));
  return {
    route,
    state: "asleep",
    people: { turnstile: stile, tally: tally() },
    update: () => {},
    listening: async () => {},
    callIn: never,
    peopleCame: () => {},
    traffic: () => {
      throw new Error("nobody asks");
    },
    close: async () => {},
  };
}

test("who does not say whom he wants in time is hung up on, however slowly he speaks", async () => {
  const people = servePeople({ find: () => undefined, log, helloMs: 100 });
  const port = await listen(people.server());
  const silent = await dial({ port });
  const slow = await dial({ port });
  slow.write(Buffer.from([22, 3, 1, 2, 0, 1, 0]));
  const trickle = setInterval(() => slow.write(Buffer.from([0])), 10);
  await Promise.all([drain(silent), drain(slow)]);
  clearInterval(trickle);
  await eventually("both are counted", () => Object.values(people.strangers().refused).length === 2);
  expect(people.strangers().refused).toEqual({ "nothing said": 1, "no whole ClientHello": 1 });
});

test("of too many who have said nothing, the oldest goes", async () => {
  const people = servePeople({ find: () => undefined, log });
  const port = await listen(people.server());
  const first = await dial({ port });
  const gone = drain(first);
  const others = await Promise.all(Array.from({ length: 1024 }, () => dial({ port })));
  await gone;
  expect(others.filter((one) => one.destroyed)).toEqual([]);
  for (const one of others) one.destroy();
});

test("a caller is held no longer than the time allowed, and is told by an alert", async () => {
  const tenant = sleeper();
  const people = servePeople({ find: () => tenant, log, holdMs: 100 });
  const port = await listen(people.server());
  const caller = connectTls({ host: "127.0.0.1", port, servername: "acme.test" });
  expect(await new Promise((resolve) => caller.once("error", resolve))).toMatchObject({ code: "ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR" });
  await eventually("it is gone", () => tenant.people.tally.read().open === 0);
  expect(tenant.people.tally.read().refused).toEqual({ unreachable: 1 });
  expect(tenant.people.turnstile.inside).toBe(0);
});

test("a caller who sends more than a handshake before he is answered is hung up on", async () => {
  const tenant = sleeper();
  const people = servePeople({ find: () => tenant, log });
  const port = await listen(people.server());
  // a relay that adds megabytes to the hello
  const greedy = createServer((near) => {
    near.on("error", () => {});
    near.once("data", async (bytes: Buffer) => {
      const far = await dial({ port });
      far.on("error", () => {});
      far.once("close", () => near.destroy());
      far.write(bytes);
      far.write(Buffer.alloc(2 ** 20));
    });
  });
  const caller = connectTls({ host: "127.0.0.1", port: await listen(greedy), servername: "acme.test" });
  caller.on("error", () => {});
  await new Promise((resolve) => caller.once("close", resolve));
  await eventually("it is gone", () => tenant.people.tally.read().open === 0);
});

test("who has said all and gets no answer is cut in the end; who gets one is not", async () => {
  const ends: Socket[] = [];
  const far = createServer({ allowHalfOpen: true }, (socket) => void ends.push(socket));
  const farPort = await listen(far);
  const near = createServer({ allowHalfOpen: true }, async (socket) => {
    const outward = await dial({ port: farPort });
    await relay(socket, outward, 150);
  });
  const nearPort = await listen(near);
  const quiet = await dial({ port: nearPort });
  quiet.end("all");
  expect(Buffer.from(await drain(quiet))).toHaveLength(0);
  const answered = await dial({ port: nearPort });
  const got = drain(answered);
  answered.end("all");
  await eventually("it is there", () => ends.length === 2);
  const answering = setInterval(() => ends[1]?.write("."), 20);
  await eventually("it outlives the limit", () => answered.bytesRead > 20);
  clearInterval(answering);
  ends[1]?.end();
  expect(Buffer.from(await got).length).toBeGreaterThan(20);
  for (const one of ends) one.destroy();
});

test("who said all and went leaves nothing behind, though the other end never ends", async () => {
  const ends: Socket[] = [];
  const far = createServer({ allowHalfOpen: true }, (socket) => void ends.push(socket.on("error", () => {})));
  const farPort = await listen(far);
  let relayed: Promise<void> | undefined;
  const near = createServer({ allowHalfOpen: true }, async (socket) => {
    const outward = await dial({ port: farPort });
    relayed = relay(socket, outward);
    socket.once("end", () => socket.destroy());
  });
  const caller = await dial({ port: await listen(near) });
  caller.end("all");
  await eventually("it is relayed", () => relayed !== undefined);
  await relayed;
  expect(ends).toHaveLength(1);
  expect(ends[0]?.bytesRead).toBe(3);
  for (const one of [caller, ...ends]) one.destroy();
});
