import { defineConfig } from "vitest/config";

/** Each of these files waits more than it works, and has ports, users and namespaces of its own, so two run at once. */
const PAIRED = [
  "autoscale",
  "backup",
  "boot-disk",
  "boot-files",
  "boot-matrix",
  "cli",
  "datastore",
  "doctor-boot",
  "gateway",
  "hibernate",
  "host",
  "machine",
  "node-road",
  "swap-guest",
  "tenant*",
  "upstream",
  "warm-pool",
].map((name) => `test/flow/${name}.test.ts`);

/** Projects, so that each may have its own pace: what is quick runs first. `test/rack` needs minutes and the machine to itself. */
export default defineConfig({
  test: {
    // a machine of two cores runs this; real etcds and apiservers are started beside the workers
    maxWorkers: 2,
    projects: [
      {
        test: {
          name: "unit",
          include: ["src/**/*.test.ts", "scripts/**/*.test.ts", "test/architecture/**/*.test.ts"],
          testTimeout: 20_000,
          hookTimeout: 60_000,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: "flow",
          include: ["test/flow/**/*.test.ts"],
          exclude: PAIRED,
          testTimeout: 120_000,
          hookTimeout: 120_000,
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          name: "paired",
          include: PAIRED,
          testTimeout: 120_000,
          hookTimeout: 120_000,
          // of one file, beside one of another
          maxConcurrency: 2,
          sequence: { groupOrder: 2 },
        },
      },
      {
        test: {
          name: "rack",
          include: ["test/rack/**/*.test.ts"],
          testTimeout: 30 * 60_000,
          hookTimeout: 5 * 60_000,
          fileParallelism: false,
          sequence: { groupOrder: 3 },
        },
      },
    ],
  },
});
