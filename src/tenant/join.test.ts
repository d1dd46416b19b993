import { expect, test } from "vitest";
import type { Admissions } from "./admissions.ts";
import type { AdmittedNode } from "./csr.ts";
import { type JoinOptions, joins } from "./join.ts";

const REF = { namespace: "default", name: "acme" };
const MINE = { claim: "c", claimUid: "u", nodeName: "m-1" };
const ssh = { port: 22, hostKey: "ssh-ed25519 AAAA" };

/** A tenant's admitted nodes, and how often they were written. */
function world(first: readonly AdmittedNode[]) {
  const held = { nodes: first, writes: 0 };
  const admissions: Pick<Admissions, "update"> = {
    update: async (_, change) => {
      const after = change(held.nodes);
      if (after !== held.nodes) held.writes += 1;
      held.nodes = after;
      return after;
    },
  };
  return { held, ...joins({ admissions, onChange: () => {} } as unknown as JoinOptions) };
}

test("the way to what is behind a node is noted, once, and for its own claim alone", async () => {
  const joined = { ...MINE, addresses: ["10.77.0.11"] };
  const other = { ...joined, claimUid: "v", nodeName: "m-2" };
  const { held, noteWay } = world([joined, other]);
  for (const _ of ["first", "again"]) await noteWay(REF, MINE, { podCIDR: "10.244.3.0/24", ssh });
  await noteWay(REF, { ...MINE, claimUid: "before" }, { podCIDR: "10.244.9.0/24", ssh });
  expect(held).toEqual({ nodes: [{ ...joined, podCIDR: "10.244.3.0/24", ssh }, other], writes: 1 });
});

test.each([undefined, "", "everywhere", 7])("a Node's network that is none (%s) is left out, and its road is not", async (podCIDR) => {
  const { held, noteWay } = world([{ ...MINE, addresses: [] }]);
  await noteWay(REF, MINE, { podCIDR: podCIDR as string | undefined, ssh });
  expect(held.nodes).toEqual([{ ...MINE, addresses: [], ssh }]);
});
