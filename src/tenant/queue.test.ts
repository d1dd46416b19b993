import { expect, test } from "vitest";
import type { VirtualCluster } from "../core/resources.ts";
import { madeBefore } from "./queue.ts";

function cluster(name: string, minute: number, status: VirtualCluster["status"] = { phase: "Creating" }, deleted = false): VirtualCluster {
  const creationTimestamp = `2026-03-01T12:0${minute}:00Z`;
  const metadata = { name, namespace: "team", creationTimestamp, ...(deleted ? { deletionTimestamp: creationTimestamp } : {}) };
  return { apiVersion: "ironwright.dev/v1alpha1", kind: "VirtualCluster", metadata, spec: {}, status };
}

test("who came first is first; who has a control plane, failed, or goes, holds up nobody", () => {
  const late = cluster("z", 5);
  const all = [
    cluster("a", 1),
    cluster("b", 2, {}),
    cluster("given", 1, { phase: "Creating", plane: "x" }),
    cluster("ready", 1, { phase: "Ready" }),
    cluster("failed", 1, { phase: "Failed" }),
    cluster("going", 1, { phase: "Creating" }, true),
    late,
    cluster("later", 6),
  ];
  expect(madeBefore(late, all)).toBe(2);
  expect(all.map((one) => madeBefore(one, all))).toEqual([0, 1, 0, 0, 0, 0, 2, 3]);
});

test("of one moment the name decides, so that everybody has another place", () => {
  const all = ["c", "a", "b"].map((name) => cluster(name, 1));
  expect(all.map((one) => madeBefore(one, all))).toEqual([2, 0, 1]);
});
