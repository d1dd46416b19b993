import { PassThrough } from "node:stream";
import { expect, test } from "vitest";
import { type ConnectNode, dialer } from "./dialer.ts";
import type { EgressNode, SshRoad, Verdict } from "./egress-policy.ts";

const node = (name: string): EgressNode & { readonly ssh: SshRoad } => ({
  name,
  addresses: [name],
  ssh: { address: name, port: 22, user: "u", keyFile: "/k", hostKey: "ssh-ed25519 AAAA" },
});
const to = (nodes: readonly EgressNode[]): Extract<Verdict, { by: "ssh" }> => ({
  allow: true,
  by: "ssh",
  address: "10.244.1.5",
  port: 80,
  nodes,
});

/** Sessions by node: `leads` forwards, `silent` never says whether it does, `dead` never becomes one. */
function world(nodes: Readonly<Record<string, "leads" | "silent" | "dead">>) {
  const closed: string[] = [];
  const connects: string[] = [];
  const connectNode: ConnectNode = async ({ address }) => {
    connects.push(address);
    if (nodes[address] === "dead") return new Promise(() => {});
    return {
      alive: true,
      forward: (_to, _port, signal) =>
        nodes[address] === "leads"
          ? Promise.resolve(new PassThrough())
          : new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
      close: () => void closed.push(address),
    };
  };
  return { connectNode, connects, closed };
}

test.each(["silent", "dead"] as const)("a node that is %s is left for the next in time", async (first) => {
  const { connectNode, connects } = world({ a: first, b: "leads" });
  const through = dialer(connectNode, 20);
  await through.dial(to([node("a"), node("b")]), AbortSignal.timeout(10_000));
  expect(connects).toEqual(["a", "b"]);
});

test("the last one has all the time that is left, and whoever asked can give up", async () => {
  const { connectNode } = world({ a: "silent" });
  const asking = new AbortController();
  setTimeout(() => asking.abort(new Error("given up")), 60);
  const before = performance.now();
  await expect(dialer(connectNode, 1).dial(to([node("a")]), asking.signal)).rejects.toThrow("given up");
  expect(performance.now() - before).toBeGreaterThan(50);
});

test("a connect is shared while it is made, and whoever gave up leaves nothing behind", async () => {
  const made: { fail: (error: Error) => void; succeed: (alive: boolean) => void }[] = [];
  const session = (alive: boolean) => ({ alive, forward: async () => new PassThrough(), close: () => {} });
  const connectNode: ConnectNode = () =>
    new Promise((resolve, reject) => made.push({ fail: reject, succeed: (alive) => resolve(session(alive)) }));
  const through = dialer(connectNode);
  const giveUp = async () => {
    const asking = new AbortController();
    const dial = through.dial(to([node("a")]), asking.signal);
    asking.abort(new Error("given up"));
    await expect(dial).rejects.toThrow("given up");
  };
  for (let round = 0; round < 3; round += 1) {
    for (let dials = 0; dials < 50; dials += 1) await giveUp();
    expect(made).toHaveLength(round + 1);
    made.at(-1)?.fail(new Error("no answer"));
    await new Promise((resolve) => setImmediate(resolve));
    // nobody waits, so nobody connects again
    expect(made).toHaveLength(round + 1);
  }

  const dial = () => through.dial(to([node("a")]), AbortSignal.timeout(10_000));
  const together = [dial(), dial()];
  expect(made).toHaveLength(4);
  made.at(-1)?.succeed(false);
  await Promise.all(together);
  // it is lost by now
  const next = dial();
  expect(made).toHaveLength(5);
  made.at(-1)?.succeed(true);
  await next;
  await dial();
  expect(made).toHaveLength(5);
});

test("the session with a node that is the tenant's no more is ended, others stay", async () => {
  const { connectNode, closed } = world({ a: "leads", b: "leads" });
  const through = dialer(connectNode);
  for (const one of ["a", "b"]) await through.dial(to([node(one)]), AbortSignal.timeout(10_000));
  through.keepOnly([node("b"), { name: "a", addresses: ["a"] }]);
  await Promise.resolve();
  expect(closed).toEqual(["a"]);
});
