import { expect, test } from "vitest";
import type { VirtualCluster } from "../core/resources.ts";
import { choosePort } from "./ports.ts";

function having(port?: number): VirtualCluster {
  const status = port === undefined ? {} : { port };
  return { apiVersion: "ironwright.dev/v1alpha1", kind: "VirtualCluster", metadata: { name: "x" }, spec: {}, status };
}

test("the lowest that nobody has", () => {
  expect(choosePort({ from: 5, to: 9 }, [])).toBe(5);
  expect(choosePort({ from: 5, to: 9 }, [having(5), having(), having(7), having(6)])).toBe(8);
});

test("when all are taken, it says so", () => {
  expect(() => choosePort({ from: 5, to: 6 }, [having(6), having(5)])).toThrow("every port from 5 to 6");
});
