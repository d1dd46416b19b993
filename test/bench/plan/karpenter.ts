import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "./run.ts";

const MODULE = "sigs.k8s.io/karpenter";
export const KARPENTER_VERSION = "v1.15.0";
const PACKAGE = "./pkg/controllers/provisioning/scheduling";
const SCENARIO = join(import.meta.dirname, "karpenter_test.go");

export interface Scenario {
  readonly name: string;
  /** Which of Karpenter's own generators makes the pods. */
  readonly pods: "diverse" | "preferences" | "plain";
  readonly count: number;
  readonly types: number;
  readonly existingNodes: number;
  /** Neither looks at preferences; otherwise each goes by its own default policy. */
  readonly ignore?: true;
}

export interface Measured {
  readonly wallSeconds: number;
  readonly cpuSeconds: number;
  /** The most the whole process held. */
  readonly peakMiB: number;
  readonly newNodes: number;
  readonly placed: number;
  readonly failed: number;
}

/** Karpenter's scheduling tests with ours among them, compiled once a version; the Go command fetches what it needs. */
export async function buildKarpenter(say: (text: string) => void): Promise<string> {
  const key = createHash("sha256").update(KARPENTER_VERSION).update(readFileSync(SCENARIO)).digest("hex").slice(0, 16);
  const cache = join(process.env.IRONWRIGHT_CACHE ?? join(homedir(), ".cache", "ironwright"), "karpenter", key);
  const program = join(cache, "scheduling.test");
  if (existsSync(program)) return program;

  mkdirSync(cache, { recursive: true });
  const work = mkdtempSync(join(tmpdir(), "ironwright-karpenter-"));
  try {
    say(`building Karpenter ${KARPENTER_VERSION}, once: some five CPU-minutes`);
    await run("go", ["mod", "init", "lab"], { cwd: work });
    const { Zip, Error: refusal } = JSON.parse(
      await run("go", ["mod", "download", "-json", `${MODULE}@${KARPENTER_VERSION}`], { cwd: work, anyway: true }),
    );
    if (Zip === undefined) throw new Error(`Karpenter ${KARPENTER_VERSION} cannot be fetched: ${refusal}`);
    await run("busybox", ["unzip", "-q", Zip, "-d", work]);
    const source = join(work, `${MODULE}@${KARPENTER_VERSION}`);
    // it asks for the newest patch of Go, which a machine that fetches no toolchains need not have
    const goVersion = (await run("go", ["env", "GOVERSION"])).trim().replace(/^go/, "");
    await run("go", ["mod", "edit", `-go=${goVersion}`, "-toolchain=none"], { cwd: source });
    copyFileSync(SCENARIO, join(source, PACKAGE, "ironwright_test.go"));
    await run("go", ["mod", "download"], { cwd: source });
    await run("go", ["test", "-c", "-tags=test_performance", "-o", `${program}.new`, PACKAGE], { cwd: source });
    renameSync(`${program}.new`, program);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return program;
}

/** One scenario in a process of its own. Its file then holds the pods, types and nodes it was given. */
export async function runKarpenter(program: string, scenario: Scenario, file: string): Promise<Measured> {
  const { pods, count, types, existingNodes, ignore } = scenario;
  await run(program, ["-test.run=^TestIronwrightScenario$", "-test.timeout=30m"], {
    cwd: tmpdir(),
    env: { IRONWRIGHT_SCENARIO: [pods, count, types, existingNodes, ignore ? "ignore" : "default"].join(":"), IRONWRIGHT_OUT: file },
  });
  return JSON.parse(readFileSync(file, "utf8")).result;
}
