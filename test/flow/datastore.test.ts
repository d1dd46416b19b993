import { statSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { etcdShard } from "../../src/tenant/shard.ts";
import { type Bench, random, relayTo, withSupervisor } from "./datastore-world.ts";
import { etcdCall, message } from "./etcd-grpc.ts";

let bench: Bench;
const signal = new AbortController().signal;

beforeAll(async () => {
  bench = await withSupervisor();
});
afterAll(() => bench?.stop());

test("a tenant comes by the shard's Unix socket, and takes it for 127.0.0.1", async () => {
  const { supervisor, artifacts, log } = bench;
  const options = { name: "shard-0", dir: join(bench.dir, "shard-0"), etcdPath: join(artifacts.kube.bin, "etcd") };
  const store = etcdShard({ ...options, supervisor, now: () => new Date(), random, log });
  const access = await store.admit("plane-a", signal);
  const { certificate: cert, key } = await store.certificate("plane-a", 1);
  // another user than the shard's must get there, once the directory is shown to it
  expect(statSync(access.socket).mode & 0o222).toBe(0o222);
  expect(statSync(dirname(access.socket)).mode & 0o777).toBe(0o755);
  const relay = await relayTo(access.socket);
  const identity = { endpoint: relay.endpoint, ca: access.ca, cert, key };
  expect(await etcdCall(identity, "KV/Put", message([1, "/plane-a/x"], [2, "y"]))).toMatchObject({ status: 0 });
  expect((await etcdCall(identity, "KV/Put", message([1, "/plane-b/x"], [2, "y"]))).message).toMatch(/permission denied/);
  await relay.close();
  await store.close();
});
