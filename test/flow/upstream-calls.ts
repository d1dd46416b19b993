import { execFile } from "node:child_process";
import { expect } from "vitest";
import { CONFIG_MAP, type ConfigMap, CRD, type Kube } from "../../src/kube/index.ts";
import { eventually } from "./eventually.ts";

/** A control plane as its administrator sees it. */
export interface Target {
  readonly kube: Kube;
  readonly kubectl: string;
  /** File. */
  readonly kubeconfig: string;
  /** Base URL of a webhook that this control plane may call, and the PEM of its authority. */
  readonly webhook: { readonly url: string; readonly ca: string };
}

/** One use of a control plane. What it returns must be the same wherever it runs; what it expects must hold there. */
export interface Call {
  readonly name: string;
  run(target: Target): Promise<unknown>;
}

interface Output {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs kubectl with a document on standard input; what it says is the answer, whatever its exit code. */
function kubectl(target: Target, args: readonly string[], input?: object | string): Promise<Output> {
  return new Promise((resolve, reject) => {
    const ours = ["--kubeconfig", target.kubeconfig, "--cache-dir", `${target.kubeconfig}.cache`];
    const child = execFile(target.kubectl, [...ours, ...args], { timeout: 60_000 }, (error, out, err) => {
      if (error && typeof error.code !== "number") return reject(error);
      resolve({ code: typeof error?.code === "number" ? error.code : 0, out: out.trim(), err: err.trim() });
    });
    child.stdin?.end(input === undefined ? "" : typeof input === "string" ? input : JSON.stringify(input));
  });
}

async function done(target: Target, args: readonly string[], input?: object | string): Promise<string> {
  const { code, out, err } = await kubectl(target, args, input);
  expect(code, `kubectl ${args.join(" ")}: ${err}`).toBe(0);
  return out;
}

async function namespace(target: Target, name: string): Promise<void> {
  await done(target, ["create", "namespace", name]);
  // pods want the account, which a controller makes
  await eventually(`the service account of ${name}`, () => done(target, ["get", "serviceaccount", "default", "-n", name]));
}

const container = { name: "c", image: "registry.invalid/c:1" };

function podTemplate(app: string): object {
  return { metadata: { labels: { app } }, spec: { terminationGracePeriodSeconds: 0, containers: [container] } };
}

function deployment(name: string, replicas: number): object {
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name },
    spec: { replicas, selector: { matchLabels: { app: name } }, template: podTemplate(name) },
  };
}

async function names(target: Target, kind: string, args: readonly string[]): Promise<readonly string[]> {
  const out = await done(target, ["get", kind, ...args, "-o", "name"]);
  return out === "" ? [] : out.split("\n");
}

function setStatus(target: Target, what: readonly string[], status: object): Promise<string> {
  return done(target, ["patch", ...what, "--subresource=status", "--type=merge", "-p", JSON.stringify({ status })]);
}

/** What a kubelet would write of a pod. There is none here. */
async function setPod(target: Target, ns: string, name: string, phase: "Running" | "Succeeded"): Promise<void> {
  const ready = phase === "Running" ? "True" : "False";
  const conditions = ["Ready", "ContainersReady", "Initialized", "PodScheduled"].map((type) => ({
    type,
    status: type === "Ready" || type === "ContainersReady" ? ready : "True",
  }));
  await setStatus(target, ["pod", name, "-n", ns], { phase, conditions });
}

/** In this order: later ones use what earlier ones made. */
export const CALLS: readonly Call[] = [
  {
    name: "create, apply, diff, patch and dry run say the same",
    async run(target) {
      await namespace(target, "verbs");
      const ns = ["-n", "verbs"];
      const said: unknown[] = [];
      const call = async (args: readonly string[], input?: object | string) => said.push(await kubectl(target, [...args, ...ns], input));
      const map = (data: Record<string, string>) => ({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "m" }, data });
      await call(["create", "-f", "-"], map({ a: "1" }));
      await call(["create", "-f", "-"], map({ a: "1" }));
      await call(["apply", "-f", "-"], map({ a: "2", b: "1" }));
      await call(["apply", "-f", "-"], map({ a: "2", b: "1" }));
      await call(["patch", "configmap", "m", "--type=merge", "-p", '{"data":{"b":null,"c":"3"}}']);
      await call(["patch", "configmap", "m", "--type=json", "-p", '[{"op":"test","path":"/data/a","value":"9"}]']);
      await call(["patch", "configmap", "m", "--type=json", "-p", '[{"op":"replace","path":"/data/a","value":"4"}]']);
      await call(["create", "-f", "-", "--dry-run=server", "-o", "jsonpath={.data}"], { ...map({ d: "1" }), metadata: { name: "n" } });
      await call(["get", "configmap", "n"]);
      await call(["get", "configmap", "m", "-o", "jsonpath={.data}"]);
      await call(["apply", "-f", "-"], { ...map({}), data: { a: 1 } });
      await call(["create", "-f", "-"], { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "UPPER" } });
      await call(["create", "-f", "-"], { apiVersion: "v2", kind: "Nothing", metadata: { name: "x" } });
      await call(["label", "configmap", "m", "team=red"]);
      await call(["annotate", "configmap", "m", "note=x"]);
      await call(["delete", "configmap", "-l", "team=red"]);
      return said;
    },
  },
  {
    name: "a stale resourceVersion conflicts, and nothing is lost",
    async run({ kube }) {
      const first = await kube.create<ConfigMap>(CONFIG_MAP, {
        apiVersion: "v1",
        kind: "ConfigMap",
        metadata: { name: "stale", namespace: "verbs" },
        data: { n: "0" },
      });
      await kube.replace(CONFIG_MAP, { ...first, data: { n: "1" } });
      await expect(kube.replace(CONFIG_MAP, { ...first, data: { n: "2" } })).rejects.toMatchObject({ code: "IRW_KUBE_CONFLICT" });
      return (await kube.get(CONFIG_MAP, "stale", "verbs"))?.data;
    },
  },
  {
    name: "a watch sees every change once and in order",
    async run({ kube }) {
      const { resourceVersion } = await kube.list(CONFIG_MAP, { namespace: "verbs" });
      const seen: string[] = [];
      const watching = (async () => {
        const options = { namespace: "verbs", labelSelector: "w=1", resourceVersion, timeoutSeconds: 30 };
        for await (const event of kube.watch<ConfigMap>(CONFIG_MAP, options)) {
          if (event.type === "BOOKMARK") continue;
          seen.push(`${event.type} ${event.object.metadata.name} ${event.object.data?.n}`);
          if (event.type === "DELETED" && event.object.metadata.name === "w2") return;
        }
      })();
      for (const name of ["w1", "w2"]) {
        const made = await kube.create<ConfigMap>(CONFIG_MAP, {
          apiVersion: "v1",
          kind: "ConfigMap",
          metadata: { name, namespace: "verbs", labels: { w: "1" } },
          data: { n: "0" },
        });
        await kube.replace(CONFIG_MAP, { ...made, data: { n: "1" } });
      }
      // it leaves the selection: to this watcher it is gone
      await kube.patch(CONFIG_MAP, "w1", "verbs", { metadata: { labels: { w: "2" } } });
      await kube.delete(CONFIG_MAP, "w2", { namespace: "verbs" });
      await watching;
      expect(seen).toEqual(["ADDED w1 0", "MODIFIED w1 1", "ADDED w2 0", "MODIFIED w2 1", "DELETED w1 1", "DELETED w2 1"]);
      return seen;
    },
  },
  {
    name: "a Deployment makes its ReplicaSet and pods, is scaled, and is collected with all it made",
    async run(target) {
      await namespace(target, "apps");
      const ns = ["-n", "apps"];
      await done(target, ["create", "-f", "-", ...ns], deployment("web", 3));
      await eventually("three pods", async () => expect(await names(target, "pods", [...ns, "-l", "app=web"])).toHaveLength(3));
      const [pod = ""] = await names(target, "pods", [...ns, "-l", "app=web"]);
      const owner = await done(target, ["get", pod, ...ns, "-o", "jsonpath={.metadata.ownerReferences[0].kind}"]);
      const pending = await eventually("the scheduler's verdict", async () => {
        const why = await done(target, ["get", pod, ...ns, "-o", 'jsonpath={.status.conditions[?(@.type=="PodScheduled")].reason}']);
        expect(why).toBe("Unschedulable");
        return why;
      });
      await done(target, ["scale", "deployment", "web", "--replicas=1", ...ns]);
      await eventually("one pod", async () => expect(await names(target, "pods", [...ns, "-l", "app=web"])).toHaveLength(1));
      await done(target, ["delete", "deployment", "web", ...ns]);
      await eventually("nothing is left", async () => {
        expect(await names(target, "replicasets", ns)).toEqual([]);
        expect(await names(target, "pods", [...ns, "-l", "app=web"])).toEqual([]);
      });
      return { owner, pending };
    },
  },
  {
    name: "a StatefulSet goes in order and makes its claims",
    async run(target) {
      const ns = ["-n", "apps"];
      const claim = {
        metadata: { name: "data" },
        spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } },
      };
      const set = {
        apiVersion: "apps/v1",
        kind: "StatefulSet",
        metadata: { name: "db" },
        spec: {
          replicas: 2,
          serviceName: "db",
          selector: { matchLabels: { app: "db" } },
          template: podTemplate("db"),
          volumeClaimTemplates: [claim],
        },
      };
      await done(target, ["create", "-f", "-", ...ns], set);
      await eventually("the first pod", () => done(target, ["get", "pod", "db-0", ...ns]));
      const early = await names(target, "pods", [...ns, "-l", "app=db"]);
      await setPod(target, "apps", "db-0", "Running");
      await eventually("the second pod", () => done(target, ["get", "pod", "db-1", ...ns]));
      const claims = await names(target, "pvc", ns);
      await done(target, ["delete", "statefulset", "db", ...ns]);
      expect(early).toEqual(["pod/db-0"]);
      return { early, claims };
    },
  },
  {
    name: "a Job completes, and a CronJob that missed its time makes one",
    async run(target) {
      const ns = ["-n", "apps"];
      const job = { template: { spec: { restartPolicy: "Never", containers: [container] } } };
      await done(target, ["create", "-f", "-", ...ns], { apiVersion: "batch/v1", kind: "Job", metadata: { name: "once" }, spec: job });
      const [pod = ""] = await eventually("its pod", async () => {
        const pods = await names(target, "pods", [...ns, "-l", "job-name=once"]);
        expect(pods).toHaveLength(1);
        return pods;
      });
      await setPod(target, "apps", pod.replace("pod/", ""), "Succeeded");
      const complete = await done(target, ["wait", "job/once", "--for=condition=complete", "--timeout=60s", ...ns]);

      const cron = { schedule: "0 0 1 1 *", jobTemplate: { spec: job }, concurrencyPolicy: "Forbid" };
      await done(target, ["create", "-f", "-", ...ns], {
        apiVersion: "batch/v1",
        kind: "CronJob",
        metadata: { name: "yearly" },
        spec: { ...cron, suspend: true },
      });
      // it last ran years ago, so it is late
      await setStatus(target, ["cronjob", "yearly", ...ns], { lastScheduleTime: "2020-01-01T00:00:00Z" });
      await done(target, ["patch", "cronjob", "yearly", "-p", '{"spec":{"suspend":false}}', ...ns]);
      const made = await eventually("its job", async () => {
        const owners = await done(target, ["get", "jobs", ...ns, "-o", "jsonpath={.items[*].metadata.ownerReferences[0].name}"]);
        expect(owners).toBe("yearly");
        return owners;
      });
      return { complete, made };
    },
  },
  {
    name: "server-side apply: fields have owners, conflicts are said, force takes them",
    async run(target) {
      const ns = ["-n", "verbs"];
      const map = (data: Record<string, string>) => ({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "ssa" }, data });
      const apply = (manager: string, data: Record<string, string>, ...more: string[]) =>
        kubectl(target, ["apply", "--server-side", `--field-manager=${manager}`, ...more, "-f", "-", ...ns], map(data));
      const said = [
        await apply("red", { a: "1", b: "1" }),
        await apply("blue", { c: "1" }),
        await apply("blue", { a: "2", c: "1" }),
        await apply("blue", { a: "2", c: "1" }, "--force-conflicts"),
        await apply("red", { b: "1" }),
      ];
      const owners = await done(target, ["get", "configmap", "ssa", ...ns, "--show-managed-fields", "-o", "json"]);
      const { data, metadata } = JSON.parse(owners) as {
        data: unknown;
        metadata: { managedFields: { manager: string; fieldsV1: unknown }[] };
      };
      expect(said.map((one) => one.code)).toEqual([0, 0, 1, 0, 0]);
      // they come in the order of their times, which are whole seconds: what is written across one is in another order
      const owned = Object.fromEntries(metadata.managedFields.map(({ manager, fieldsV1 }) => [manager, fieldsV1]));
      return { said, data, owned };
    },
  },
  {
    name: "long lists come in pages of one snapshot",
    async run({ kube }) {
      const make = (nth: number) =>
        kube.create<ConfigMap>(CONFIG_MAP, {
          apiVersion: "v1",
          kind: "ConfigMap",
          metadata: { name: `page-${String(nth).padStart(3, "0")}`, namespace: "verbs", labels: { paged: "1" } },
        });
      await Promise.all(Array.from({ length: 25 }, (_, nth) => make(nth)));
      const seen: string[] = [];
      const sizes: number[] = [];
      let token = "";
      do {
        const query = `labelSelector=paged%3D1&limit=10${token ? `&continue=${encodeURIComponent(token)}` : ""}`;
        const page = (await kube.raw("GET", `/api/v1/namespaces/verbs/configmaps?${query}`)) as {
          items: ConfigMap[];
          metadata: { continue?: string };
        };
        seen.push(...page.items.map((one) => one.metadata.name));
        sizes.push(page.items.length);
        token = page.metadata.continue ?? "";
        // what comes later is not in the pages to come
        if (sizes.length === 1) await make(999);
      } while (token);
      expect(new Set(seen).size).toBe(25);
      await expect(kube.raw("GET", "/api/v1/configmaps?limit=1&continue=nonsense")).rejects.toMatchObject({ code: "IRW_KUBE_REFUSED" });
      return { sizes, seen };
    },
  },
  {
    name: "events are made, found by field, and told by kubectl describe",
    async run(target) {
      const ns = ["-n", "verbs"];
      await done(target, ["create", "-f", "-", ...ns], {
        apiVersion: "v1",
        kind: "Pod",
        metadata: { name: "lonely" },
        spec: { containers: [container] },
      });
      return eventually("the scheduler's event", async () => {
        const reasons = await done(target, [
          "get",
          "events",
          ...ns,
          "--field-selector",
          "involvedObject.name=lonely",
          "-o",
          "jsonpath={.items[*].reason}",
        ]);
        expect(reasons).toContain("FailedScheduling");
        expect(await done(target, ["describe", "pod", "lonely", ...ns])).toContain("FailedScheduling");
        return reasons.split(" ")[0];
      });
    },
  },
  {
    name: "roles allow what they say and nothing else; accounts get tokens that are theirs",
    async run(target) {
      const ns = ["-n", "verbs"];
      await done(target, ["create", "serviceaccount", "reader", ...ns]);
      await done(target, ["create", "role", "reads-maps", "--verb=get,list", "--resource=configmaps", ...ns]);
      await done(target, ["create", "rolebinding", "reader", "--role=reads-maps", "--serviceaccount=verbs:reader", ...ns]);
      const as = ["--as=system:serviceaccount:verbs:reader"];
      const can = async (...what: string[]) => (await kubectl(target, ["auth", "can-i", ...what, ...as])).out;
      const answers = await eventually("the binding works", async () => {
        const all = [
          await can("get", "configmaps", ...ns),
          await can("delete", "configmaps", ...ns),
          await can("get", "secrets", ...ns),
          await can("get", "configmaps", "-n", "default"),
        ];
        expect(all).toEqual(["yes", "no", "no", "no"]);
        return all;
      });
      const token = await done(target, ["create", "token", "reader", "--duration=10m", ...ns]);
      const whoami = await done(target, [
        "auth",
        "whoami",
        "--token",
        token,
        "--client-certificate=",
        "-o",
        "jsonpath={.status.userInfo.username}",
      ]);
      const escalation = await kubectl(target, [
        "create",
        "clusterrolebinding",
        "up",
        "--clusterrole=cluster-admin",
        "--serviceaccount=verbs:reader",
        ...as,
      ]);
      expect(escalation.code).toBe(1);
      return { answers, whoami, escalation };
    },
  },
  {
    name: "a CRD: schema, defaults, pruning, status and scale, columns, two versions by a conversion webhook",
    async run(target) {
      const { url, ca } = target.webhook;
      const version = (name: string, field: string, storage: boolean) => ({
        name,
        served: true,
        storage,
        schema: {
          openAPIV3Schema: {
            type: "object",
            properties: {
              spec: {
                type: "object",
                required: [field],
                properties: { [field]: { type: "integer", minimum: 0, maximum: 9 }, colour: { type: "string", default: "red" } },
              },
              status: { type: "object", properties: { replicas: { type: "integer" } } },
            },
          },
        },
        subresources: { status: {}, scale: { specReplicasPath: `.spec.${field}`, statusReplicasPath: ".status.replicas" } },
        additionalPrinterColumns: [{ name: "Size", type: "integer", jsonPath: `.spec.${field}` }],
      });
      await done(target, ["create", "-f", "-"], {
        apiVersion: "apiextensions.k8s.io/v1",
        kind: "CustomResourceDefinition",
        metadata: { name: "widgets.example.com" },
        spec: {
          group: "example.com",
          scope: "Namespaced",
          names: { plural: "widgets", singular: "widget", kind: "Widget" },
          versions: [version("v1", "size", true), version("v2", "extent", false)],
          conversion: {
            strategy: "Webhook",
            webhook: {
              conversionReviewVersions: ["v1"],
              clientConfig: { url: `${url}/convert`, caBundle: Buffer.from(ca).toString("base64") },
            },
          },
        },
      });
      await done(target, ["wait", "--for=condition=Established", "crd/widgets.example.com", "--timeout=60s"]);
      const ns = ["-n", "verbs"];
      const widget = (spec: object, v = "v1") => ({ apiVersion: `example.com/${v}`, kind: "Widget", metadata: { name: "w" }, spec });
      const said: unknown[] = [];
      // discovery is a moment behind
      said.push(
        await eventually("it can be made", () =>
          done(target, ["create", "--validate=false", "-f", "-", ...ns], widget({ size: 3, unknown: 1 })),
        ),
      );
      said.push(
        await kubectl(target, ["create", "--validate=false", "-f", "-", ...ns], { ...widget({ size: 10 }), metadata: { name: "x" } }),
      );
      said.push(await kubectl(target, ["get", "widgets.v1.example.com", "w", ...ns, "--no-headers", "-o", "custom-columns=S:.spec"]));
      said.push(await kubectl(target, ["get", "widgets.v2.example.com", "w", ...ns, "-o", "jsonpath={.spec}"]));
      said.push(await kubectl(target, ["replace", "--validate=false", "-f", "-", ...ns], widget({ extent: 5 }, "v2")));
      said.push(await kubectl(target, ["get", "widgets.v1.example.com", "w", ...ns, "-o", "jsonpath={.spec}"]));
      said.push(await kubectl(target, ["scale", "widgets.v1.example.com", "w", "--replicas=2", ...ns]));
      expect(await done(target, ["get", "widgets.v1.example.com", "w", ...ns, "-o", "jsonpath={.spec.size}"])).toBe("2");
      return said;
    },
  },
  {
    name: "admission webhooks change and refuse",
    async run(target) {
      const { url, ca } = target.webhook;
      const hook = (kind: "Mutating" | "Validating", path: string) => ({
        apiVersion: "admissionregistration.k8s.io/v1",
        kind: `${kind}WebhookConfiguration`,
        metadata: { name: `test-${path}` },
        webhooks: [
          {
            name: `${path}.example.com`,
            admissionReviewVersions: ["v1"],
            sideEffects: "None",
            timeoutSeconds: 10,
            clientConfig: { url: `${url}/${path}`, caBundle: Buffer.from(ca).toString("base64") },
            namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "hooked" } },
            rules: [{ apiGroups: [""], apiVersions: ["v1"], operations: ["CREATE"], resources: ["configmaps"] }],
          },
        ],
      });
      await namespace(target, "hooked");
      for (const one of [hook("Mutating", "mutate"), hook("Validating", "validate")]) await done(target, ["create", "-f", "-"], one);
      const ns = ["-n", "hooked"];
      const map = (name: string) => ({ apiVersion: "v1", kind: "ConfigMap", metadata: { name }, data: { a: "b" } });
      const hooked = await eventually("both are known to the apiserver", async () => {
        await kubectl(target, ["delete", "configmap", "fine", "--ignore-not-found", ...ns]);
        await done(target, ["create", "-f", "-", ...ns], map("fine"));
        const label = await done(target, ["get", "configmap", "fine", ...ns, "-o", "jsonpath={.metadata.labels.mutated}"]);
        expect(label).toBe("yes");
        const refused = await kubectl(target, ["create", "-f", "-", ...ns, "--dry-run=server"], map("forbidden"));
        expect(refused.code).toBe(1);
        return { label, refused };
      });
      await done(target, ["delete", "mutatingwebhookconfiguration/test-mutate", "validatingwebhookconfiguration/test-validate"]);
      return hooked;
    },
  },
  {
    name: "a namespace takes everything in it along, finalizers first",
    async run(target) {
      await namespace(target, "doomed");
      const ns = ["-n", "doomed"];
      const map = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "held", finalizers: ["example.com/hold"] } };
      await done(target, ["create", "-f", "-", ...ns], map);
      await done(target, ["create", "secret", "generic", "s", "--from-literal=a=b", ...ns]);
      await done(target, ["delete", "namespace", "doomed", "--wait=false"]);
      const refused = await eventually("nothing new comes in", async () => {
        const late = await kubectl(target, ["create", "configmap", "late", ...ns]);
        expect(late.code).toBe(1);
        expect(late.err).toContain("being terminated");
        return late.err;
      });
      await eventually("the rest is gone, what is held is not", async () =>
        expect(await names(target, "secrets,configmaps", ns)).toContain("configmap/held"),
      );
      await done(target, ["patch", "configmap", "held", "--type=merge", "-p", '{"metadata":{"finalizers":null}}', ...ns]);
      await done(target, ["wait", "--for=delete", "namespace/doomed", "--timeout=60s"]);
      return refused;
    },
  },
  {
    name: "versions and resources are upstream's own",
    async run(target) {
      const version = JSON.parse(await done(target, ["version", "-o", "json"])) as { serverVersion: { gitVersion: string } };
      const resources = (await done(target, ["api-resources", "--no-headers", "-o", "name"])).split("\n").sort();
      const crds = await target.kube.list(CRD);
      return { version: version.serverVersion.gitVersion, resources, crds: crds.items.map((one) => one.metadata.name) };
    },
  },
];
