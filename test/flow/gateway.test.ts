import { execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually } from "./eventually.ts";
import { type GatewayWorld, gatewayWorld, HOST, NAME, NODE, OTHER, POD, SERVICE } from "./gateway-world.ts";

let world: GatewayWorld;
beforeAll(async () => {
  world = await gatewayWorld();
});
afterAll(() => world?.stop());

const seen = (name: string) => world.seen.get(name) ?? 0;
const traffic = async () => {
  const [acme] = await world.client.list();
  if (!acme) throw new Error("no traffic");
  return acme;
};

/** Upgrades by one road, sends some bytes, and says what came back. */
const UPGRADE = `
import { request } from "node:https";
import { readFileSync } from "node:fs";
const [dir, port, name, path] = process.argv.slice(1);
const file = (one) => readFileSync(dir + "/" + one);
const sent = Buffer.alloc(200_000, "\\0\\x01\\xffspdy");
const asking = request({ host: "127.0.0.1", port, path, servername: name, ca: file("ca.crt"), cert: file("admin.crt"), key: file("admin.key"),
  headers: { connection: "Upgrade", upgrade: "websocket", "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==", "sec-websocket-version": "13" } });
asking.on("response", (answer) => { console.log("status " + answer.statusCode); process.exit(1); });
asking.on("upgrade", (answer, socket, head) => {
  let got = head;
  socket.on("data", (chunk) => {
    got = Buffer.concat([got, chunk]);
    if (got.length < sent.length) return;
    console.log(answer.statusCode + " " + got.equals(sent));
    socket.destroy();
  });
  socket.write(sent);
});
asking.end();
`;

describe("people and nodes", () => {
  test("kubectl reaches a real apiserver in a cell by its name, and by its port", async () => {
    const before = await traffic();
    for (const by of ["people", "nodes"] as const) {
      expect(await world.kubectl(by, "get", "namespaces", "-o", "name")).toContain("namespace/kube-system");
    }
    const data = { big: randomBytes(150_000).toString("base64") };
    await world.apply({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "by-people", namespace: "default" }, data });
    expect((await world.kubectl("nodes", "get", "configmap", "by-people", "-o", "jsonpath={.data.big}")).length).toBe(200_000);
    const after = await traffic();
    expect(after.people.accepted).toBeGreaterThan(before.people.accepted);
    expect(after.people.received).toBeGreaterThan(200_000);
    expect(after.nodes.sent).toBeGreaterThan(200_000);
    expect(after.problems).toEqual([]);
  });

  test("the gateway and the cell run as users of their own, who are not root", async () => {
    const statuses = await world.supervisor.list();
    const uids = await Promise.all(
      ["tenants-gateway", "door", "apiserver"].map(async (name) => {
        const pid = statuses.find((one) => one.name === name)?.pid;
        return (
          await world.onHost(
            `import { readFileSync } from "node:fs"; console.log(/Uid:\\t(\\d+)/.exec(readFileSync("/proc/${pid}/status", "utf8"))[1])`,
          )
        ).trim();
      }),
    );
    expect(uids).toEqual(["2100001", "2100002", "2100002"]);
  });

  test("upgrades pass byte for byte: exec, attach and port-forward are such", async () => {
    await world.apply({ apiVersion: "v1", kind: "Node", metadata: { name: "node-1" } });
    await world.kubectl(
      "people",
      "patch",
      "node",
      "node-1",
      "--subresource=status",
      "--type=merge",
      "-p",
      JSON.stringify({ status: { addresses: [{ type: "InternalIP", address: NODE }] } }),
    );
    const path = "/api/v1/nodes/https:node-1:10250/proxy/exec";
    for (const port of [world.peoplePort, world.nodePort]) {
      expect((await world.onHost(UPGRADE, world.dir, String(port), NAME, path)).trim()).toBe("101 true");
    }
  });

  test("kubectl logs come from the node's kubelet", async () => {
    await world.apply({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "p", namespace: "default" },
      spec: { nodeName: "node-1", containers: [{ name: "c", image: "i" }] },
    });
    expect(await world.kubectl("people", "logs", "p")).toBe("logs of /containerLogs/default/p/c\n");
    expect(seen("kubelet")).toBeGreaterThan(0);
  });
});

describe("what an apiserver dials", () => {
  const webhookBy = (clientConfig: object) => ({
    apiVersion: "admissionregistration.k8s.io/v1",
    kind: "ValidatingWebhookConfiguration",
    metadata: { name: "hook" },
    webhooks: [
      {
        name: "hook.test.dev",
        admissionReviewVersions: ["v1"],
        sideEffects: "None",
        failurePolicy: "Fail",
        timeoutSeconds: 5,
        clientConfig: { caBundle: Buffer.from(world.ca.certificate).toString("base64"), ...clientConfig },
        rules: [{ apiGroups: [""], apiVersions: ["v1"], resources: ["secrets"], operations: ["CREATE"] }],
      },
    ],
  });

  const strangers = ["the host's Redis", "the host's etcd", "the host's address", "a BMC", "other's kubelet"];

  test("a webhook by URL at a port of its own node is called", async () => {
    await world.apply(webhookBy({ url: `https://${NODE}:30443/admit` }));
    await eventually("the webhook is called", async () => {
      expect(await createSecret()).toContain("seen by webhook");
    });
  });

  test("a webhook by service is called through SSH to the node, whose network the service is in", async () => {
    await world.apply({
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "hook", namespace: "default" },
      spec: { clusterIP: SERVICE, ports: [{ port: 443 }] },
    });
    await world.apply(webhookBy({ service: { name: "hook", namespace: "default", path: "/admit" } }));
    await eventually("the service is called", async () => {
      expect(await createSecret()).toContain("seen by service");
    });
  });

  test("a pod is reached by the proxy subresource through SSH to its node", async () => {
    await world.kubectl(
      "people",
      "patch",
      "pod",
      "p",
      "--subresource=status",
      "--type=merge",
      "-p",
      JSON.stringify({ status: { podIP: POD, podIPs: [{ ip: POD }], phase: "Running" } }),
    );
    expect(await world.kubectl("people", "get", "--raw", "/api/v1/namespaces/default/pods/p:8080/proxy/hello")).toBe("pod GET /hello");
  });

  test("webhooks at anybody else are refused with the reason, in the log, and nobody hears of them", async () => {
    const targets: [string, RegExp][] = [
      ["https://127.0.0.1:6379/", /127\.0\.0\.1 is a loopback address/],
      ["https://127.0.0.1:2379/", /127\.0\.0\.1 is a loopback address/],
      ["https://localhost:2379/", /localhost is a name/],
      ["https://[::1]:2379/", /::1 is a loopback address/],
      ["https://[::ffff:127.0.0.1]:2379/", /in the clothes of IPv6|loopback/],
      ["https://2130706433:2379/", /not how that address is written/],
      [`https://${HOST}:10250/`, /an address of this host/],
      [`https://${HOST}:8443/`, /an address of this host/],
      [`https://${OTHER}:10250/`, /not an address of the tenant's/],
      ["https://169.254.169.254/latest", /metadata/],
      ["https://metadata.google.internal/", /is a name/],
      [`https://${NODE}:22/`, /port 22 of a node/],
    ];
    for (const [url, reason] of targets) {
      await world.apply(webhookBy({ url }));
      await eventually(
        url,
        async () => {
          expect(await createSecret().catch((error: { stderr?: string }) => error.stderr)).toMatch(reason);
        },
        15_000,
      );
    }
    await world.kubectl("people", "delete", "validatingwebhookconfiguration", "hook");
    expect(strangers.map((name) => `${name}: ${seen(name)}`)).toEqual(strangers.map((name) => `${name}: 0`));
    const lines = world
      .gatewayLog()
      .split("\n")
      .filter((line) => line.includes("egress refused"));
    for (const target of ["127.0.0.1:6379", "localhost:2379", `${OTHER}:10250`, "169.254.169.254:443"]) {
      expect(lines.find((line) => line.includes(`"target":"${target}"`) && line.includes('"tenant":"default.acme"'))).toBeDefined();
    }
    expect((await traffic()).egress.refused["not allowed"]).toBeGreaterThanOrEqual(targets.length);
  });

  test("a Node, a Service and an APIService that point elsewhere lead nowhere", async () => {
    for (const [name, address, reason] of [
      ["liar-1", "127.0.0.1", /not allowed/],
      ["liar-2", HOST, /an address of this host/],
      ["liar-3", OTHER, /not an address of the tenant's/],
      ["liar-4", "169.254.169.254", /not allowed/],
    ] as const) {
      await world.apply({ apiVersion: "v1", kind: "Node", metadata: { name } });
      await world.kubectl(
        "people",
        "patch",
        "node",
        name,
        "--subresource=status",
        "--type=merge",
        "-p",
        JSON.stringify({ status: { addresses: [{ type: "InternalIP", address }] } }),
      );
      expect(await world.refused("get", "--raw", `/api/v1/nodes/https:${name}:10250/proxy/pods`)).toMatch(reason);
    }
    await world.apply({
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "liar", namespace: "default" },
      spec: { ports: [{ port: 10250 }] },
    });
    // an apiserver wants a pod behind an endpoint, and whose address a pod has is the tenant's to write as well
    await world.apply({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "liar", namespace: "default" },
      spec: { nodeName: "node-1", containers: [{ name: "c", image: "i" }] },
    });
    const lie = { status: { podIP: OTHER, podIPs: [{ ip: OTHER }], phase: "Running" } };
    await world.kubectl("people", "patch", "pod", "liar", "--subresource=status", "--type=merge", "-p", JSON.stringify(lie));
    const targetRef = {
      kind: "Pod",
      namespace: "default",
      name: "liar",
      uid: await world.kubectl("people", "get", "pod", "liar", "-o", "jsonpath={.metadata.uid}"),
    };
    await world.apply({
      apiVersion: "v1",
      kind: "Endpoints",
      metadata: { name: "liar", namespace: "default" },
      subsets: [{ addresses: [{ ip: OTHER, targetRef }], ports: [{ port: 10250 }] }],
    });
    for (const path of ["services/https:liar:10250", "pods/https:liar:10250"]) {
      const said = await world.refused("get", "--raw", `/api/v1/namespaces/default/${path}/proxy/pods`);
      expect(said).toMatch(/not an address of the tenant's/);
    }
    await world.apply({
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "outside", namespace: "default" },
      spec: { type: "ExternalName", externalName: "localhost" },
    });
    await world.apply({
      apiVersion: "apiregistration.k8s.io/v1",
      kind: "APIService",
      metadata: { name: "v1.liar.test.dev" },
      spec: {
        group: "liar.test.dev",
        version: "v1",
        groupPriorityMinimum: 100,
        versionPriority: 100,
        insecureSkipTLSVerify: true,
        service: { name: "outside", namespace: "default", port: 2379 },
      },
    });
    await eventually("the APIService is refused", async () => {
      expect(
        await world.kubectl("people", "get", "apiservice", "v1.liar.test.dev", "-o", "jsonpath={.status.conditions[0].message}"),
      ).toMatch(/is a name|403/);
    });
    await world.kubectl("people", "delete", "apiservice", "v1.liar.test.dev");
    expect(strangers.map((name) => `${name}: ${seen(name)}`)).toEqual(strangers.map((name) => `${name}: 0`));
    const refusals = (await traffic()).lastRefusedDials.map(({ target }) => target);
    expect(refusals).toContain(`${OTHER}:10250`);
    expect(refusals).toContain("localhost:2379");
  });

  let secrets = 0;
  /** What kubectl says of a new Secret, warnings of webhooks included. */
  function createSecret(): Promise<string> {
    secrets += 1;
    return world
      .kubectl("people", "create", "secret", "generic", `s-${secrets}`, "--dry-run=server", "--warnings-as-errors")
      .catch((error: { stderr?: string }) => {
        const said = error.stderr ?? "";
        return said.includes("seen by") ? said : Promise.reject(error);
      });
  }
});

describe("a sleeper", () => {
  test.each([
    ["frozen", () => world.freeze()],
    ["stopped", () => world.stopCell()],
  ])("that is %s wakes for people, who wait, and never for a node", async (_, sleep) => {
    const before = world.wakes.length;
    await world.client.put({ ...world.route, state: "asleep" });
    await sleep();
    await expect(world.kubectl("nodes", "get", "--raw", "/readyz")).rejects.toThrow(/reset|EOF|refused/);
    expect(world.wakes.length).toBe(before);
    // kubectl waits ten seconds for a handshake, and a start from nothing may take longer where many run
    const get = () => world.kubectl("people", "get", "configmap", "by-people", "-o", "name");
    await Promise.all([1, 2].map(() => eventually("people are served", async () => expect(await get()).toBe("configmap/by-people\n"))));
    expect(world.wakes.slice(before)).toEqual(["/cells/acme/wake"]);
    expect(await traffic()).toMatchObject({ state: "opening", woken: true });
    // until the daemon has seen to who may come in
    await expect(world.kubectl("nodes", "get", "--raw", "/readyz")).rejects.toThrow(/reset|EOF|refused/);
    await world.client.put(world.route);
    expect(await world.kubectl("nodes", "get", "configmap", "by-people", "-o", "name")).toBe("configmap/by-people\n");
  });
});

test("a door in a network namespace that is new brings up its loopback", async () => {
  const addresses = [
    "--api-listen",
    `${world.dir}/new.sock`,
    "--api",
    "127.0.0.1:6443",
    "--etcd-listen",
    "127.0.0.1:2379",
    "--etcd",
    "/none",
  ];
  const door = spawn("unshare", ["--net", world.native, "door", ...addresses], { stdio: "ignore" });
  const over = once(door, "exit");
  await eventually("the door is open", () => expect(readFileSync(`/proc/${door.pid}/comm`, "utf8")).toBe("door-open\n"));
  const loopback = execFileSync("nsenter", [`--net=/proc/${door.pid}/ns/net`, "ip", "-brief", "address", "show"], { encoding: "utf8" });
  expect(loopback).toMatch(/^lo +UNKNOWN +127\.0\.0\.1\/8 ::1\/128 *\n$/);
  door.kill();
  await over;
});

test("a gateway that is killed serves again at once, without anybody saying a word", async () => {
  const pid = (await world.supervisor.list()).find(({ name }) => name === "tenants-gateway")?.pid;
  process.kill(pid ?? 0, "SIGKILL");
  await eventually("it serves again", async () => {
    expect(await world.kubectl("people", "get", "configmap", "by-people", "-o", "name")).toBe("configmap/by-people\n");
    expect(await world.kubectl("nodes", "get", "--raw", "/readyz")).toBe("ok");
  });
});
