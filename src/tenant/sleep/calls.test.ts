import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { callOf, callReader } from "./calls.ts";

const AT = "2026-03-04T12:00:00.123456Z";

function line(user: string, more: object = {}): string {
  return JSON.stringify({
    kind: "Event",
    apiVersion: "audit.k8s.io/v1",
    level: "Metadata",
    auditID: "a6ae6ee5-6a1c-4c4b-b6a5-2b0d5a1b8f2e",
    stage: "ResponseComplete",
    requestURI: "/api/v1/namespaces/default/pods?limit=500",
    verb: "list",
    user: { username: user, groups: ["system:authenticated"] },
    sourceIPs: ["127.0.0.1"],
    userAgent: "kubectl/v1.36.3 (linux/amd64) kubernetes/abcdef0",
    objectRef: { resource: "pods", namespace: "default", apiVersion: "v1" },
    responseStatus: { metadata: {}, code: 200 },
    requestReceivedTimestamp: AT,
    stageTimestamp: AT,
    ...more,
  });
}

describe("what counts", () => {
  test.each<[string, string, object?]>([
    ["people", "admin"],
    ["people whom RBAC refuses", "eve", { responseStatus: { code: 403 } }],
    ["pods", "system:serviceaccount:default:operator"],
    ["pods of kube-system", "system:serviceaccount:kube-system:coredns", { userAgent: "coredns/1.12" }],
    ["kubectl exec, once it ends", "admin", { verb: "create", requestURI: "/api/v1/namespaces/default/pods/p/exec?command=sh" }],
    ["people's leases", "admin", { objectRef: { resource: "leases" }, verb: "list" }],
  ])("%s", (_, user, more) => {
    expect(callOf(line(user, more))).toBe(Date.parse(AT));
  });

  test.each<[string, string, object?]>([
    ["open watches", "admin", { verb: "watch" }],
    ["the apiserver itself", "system:apiserver"],
    ["the controller-manager", "system:kube-controller-manager"],
    ["its controllers", "system:serviceaccount:kube-system:job-controller", { userAgent: "kube-controller-manager/v1.36.3 (linux/amd64)" }],
    ["the scheduler", "system:kube-scheduler"],
    ["the daemon", "ironwright"],
    ["nodes", "system:node:gpu-1", { verb: "update", objectRef: { resource: "leases" } }],
    ["leader election of pods", "system:serviceaccount:default:operator", { verb: "update", objectRef: { resource: "leases" } }],
    ["strangers", "system:anonymous", { responseStatus: { code: 403 } }],
    ["wrong credentials", "", { responseStatus: { code: 401 } }],
    ["probes", "admin", { requestURI: "/readyz?verbose", objectRef: undefined }],
    ["scrapers", "system:serviceaccount:monitoring:prometheus", { requestURI: "/metrics", objectRef: undefined }],
    ["a request that is not answered yet", "admin", { stage: "RequestReceived" }],
  ])("not %s", (_, user, more) => {
    expect(callOf(line(user, more))).toBeUndefined();
  });

  test.each([
    "",
    "null",
    "[]",
    "1",
    "{}",
    '{"stage":"ResponseComplete"}',
    '{"stage":1,"verb":"get","stageTimestamp":"x"}',
    line("a").slice(0, -9),
  ])("%j is no event", (text) => {
    expect(callOf(text)).toBe("unread");
  });
});

describe("a log that grows", () => {
  const lines = fc.array(
    fc.oneof(
      fc.constantFrom(line("admin"), line("system:apiserver"), line("bob", { stageTimestamp: "2026-03-04T11:00:00Z" })),
      fc.string().map((text) => text.replaceAll("\n", "")),
      fc.json().map((text) => text.replaceAll("\n", "")),
    ),
    { maxLength: 20 },
  );

  test("is counted the same however it is cut, and whatever is in it", () => {
    fc.assert(
      fc.property(lines, fc.array(fc.nat(5_000), { maxLength: 10 }), (all, cuts) => {
        const text = all.map((one) => `${one}\n`).join("");
        const whole = callReader();
        whole.push(text);
        const parts = callReader();
        let from = 0;
        for (const to of [...cuts, text.length].map((cut) => Math.min(cut, text.length)).sort((a, b) => a - b)) {
          parts.push(text.slice(from, to));
          from = to;
        }
        const expected = all.filter((one) => one.trim() !== "").map(callOf);
        const moments = expected.filter((one) => typeof one === "number");
        const calls = {
          count: moments.length,
          unread: expected.filter((one) => one === "unread").length,
          ...(moments.length > 0 ? { last: Math.max(...moments) } : {}),
        };
        expect(whole.take()).toEqual(calls);
        expect(parts.take()).toEqual(calls);
        expect(parts.take()).toEqual({ count: 0, unread: 0 });
      }),
    );
  });

  test("a line without an end takes no memory, is counted once, and the next line is read", () => {
    const reader = callReader();
    for (let n = 0; n < 40; n += 1) reader.push("x".repeat(100_000));
    expect(reader.take()).toEqual({ count: 0, unread: 1 });
    reader.push(`\n${line("admin")}\n`);
    expect(reader.take()).toEqual({ count: 1, unread: 0, last: Date.parse(AT) });
  });

  test("no event, whatever its fields are, is more than a moment or nothing", () => {
    const fields = ["stage", "verb", "requestURI", "userAgent", "user", "objectRef", "responseStatus", "stageTimestamp"];
    const odd = fc.dictionary(fc.constantFrom(...fields), fc.jsonValue());
    fc.assert(
      fc.property(odd, (more) => {
        const result = callOf(line("admin", more));
        expect(result === undefined || result === "unread" || Number.isFinite(result)).toBe(true);
      }),
      { numRuns: 1_000 },
    );
  });
});
