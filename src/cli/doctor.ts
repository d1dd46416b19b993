import { existsSync, readFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { Command } from "commander";
import { type Artifacts, artifactFiles, readIndex } from "../config/artifacts.ts";
import { type Config, loadConfig } from "../config/index.ts";
import { reasonOf } from "../core/errors.ts";
import { connectKube } from "../kube/index.ts";
import { connectSupervisor, type SwapStatus } from "../supervise/index.ts";
import { doctorBootCommand } from "./doctor-boot/command.ts";
import { type Finding, findingLines } from "./doctor-boot/judge.ts";
import type { GlobalOptions } from "./options.ts";

type Sleep = Pick<Config["tenants"]["sleep"], "swapMedium" | "swapEncryption">;

export function doctorCommand(global: () => GlobalOptions): Command {
  const doctor = new Command("doctor").description("say what this host lacks, with the mend").action(async () => {
    const findings = await examine(global());
    for (const line of findingLines(findings)) console.log(line);
    const bad = findings.filter((one) => one.wrong && !one.optional).length;
    console.log(bad === 0 ? "\nNothing is missing." : `\n${bad} of ${findings.length} need attention.`);
    if (bad > 0) process.exitCode = 1;
  });
  return doctor.addCommand(doctorBootCommand(global));
}

async function examine(global: GlobalOptions): Promise<readonly Finding[]> {
  const config = attempt(() => loadConfig({ ...global, env: process.env }));
  if ("failed" in config)
    return [{ what: "configuration", wrong: config.failed, mend: "correct it; `ironwright config --variables` lists all settings" }];
  const artifacts = attempt(() => readIndex(config.value.artifacts));
  return [
    { what: "configuration" },
    ...platform(),
    ...rackFindings(process.env.PATH ?? ""),
    ...("failed" in artifacts
      ? [{ what: "artifacts", wrong: artifacts.failed, mend: "npm run setup" }]
      : artifactFindings(artifacts.value)),
    ...bootFindings(config.value),
    ...(await running(config.value)),
  ];
}

function platform(): readonly Finding[] {
  const root = process.getuid?.() === 0;
  return [
    process.platform === "linux"
      ? { what: `Linux, Node ${process.version}` }
      : { what: "operating system", wrong: `${process.platform} is not supported`, mend: "use Linux" },
    root
      ? { what: "rights to make network namespaces" }
      : { what: "rights", wrong: "not root: the rack and boot sockets need it", mend: "use sudo, or systemd socket units (docs/guide)" },
    existsSync("/dev/net/tun")
      ? { what: "/dev/net/tun (the virtual rack's taps)" }
      : { what: "/dev/net/tun", wrong: "missing", mend: "modprobe tun" },
  ];
}

/** What the virtual rack starts of the host's programs, by the Debian package that has it. */
const RACK_PROGRAMS = { "qemu-system-x86_64": "qemu-system-x86", ip: "iproute2", setpriv: "util-linux" };

/** Whether the host's programs that nothing but the virtual rack needs are on this PATH. */
export function rackFindings(path: string): readonly Finding[] {
  return Object.entries(RACK_PROGRAMS).map(([program, debianPackage]) => {
    const what = `${program} (only \`ironwright rack\` needs it)`;
    if (path.split(delimiter).some((directory) => existsSync(join(directory, program)))) return { what };
    return { what, optional: true, wrong: "not on the PATH", mend: `apt-get install --no-install-recommends ${debianPackage}` };
  });
}

function artifactFindings(artifacts: Artifacts): readonly Finding[] {
  return artifactFiles(artifacts).map(({ what, path }) =>
    existsSync(path) ? { what: `${what} (${path})` } : { what, wrong: `${path} is missing`, mend: "npm run setup" },
  );
}

function bootFindings(config: Config): readonly Finding[] {
  if (config.boot.interfaces.length === 0)
    return [{ what: "boot plane", wrong: "no interface is named: no server will boot", mend: "set boot.interfaces in the configuration" }];
  return config.boot.interfaces.map(({ name }) =>
    existsSync(`/sys/class/net/${name}`)
      ? { what: `interface ${name}` }
      : { what: `interface ${name}`, wrong: "does not exist here", mend: "correct boot.interfaces, or run inside the rack's namespace" },
  );
}

async function running(config: Config): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  const supervisor = connectSupervisor(config.supervisor.socket ?? join(config.dataDir, "run", "supervisor.sock"));
  try {
    for (const child of await supervisor.list()) {
      findings.push(
        child.state === "running"
          ? { what: `${child.name} runs` }
          : { what: child.name, wrong: `${child.state}: ${child.reason ?? ""}`, mend: `see ${child.logFile}` },
      );
    }
    findings.push(...swapFindings(await supervisor.swap(), config.tenants.sleep));
  } catch (error) {
    findings.push({ what: "supervisor", wrong: reasonOf(error), mend: "ironwright serve; restart one that is older than this program" });
  }
  const kubeconfig = config.host.kubeconfig ?? join(config.dataDir, "kubeconfig");
  try {
    const kube = connectKube(readFileSync(kubeconfig, "utf8"));
    await kube.raw("GET", "/readyz").finally(() => kube.close());
    findings.push({ what: `host control plane at ${kube.server}` });
  } catch (error) {
    findings.push({ what: "host control plane", wrong: reasonOf(error), mend: "ironwright serve" });
  }
  return findings;
}

export function swapFindings({ on, kind, reason }: SwapStatus, { swapMedium, swapEncryption }: Sleep): readonly Finding[] {
  const what = "swap of sleeping control planes";
  const modules = swapMedium === "zram" ? "zram" : "loop dm_crypt";
  if (!on) {
    // until the first one sleeps nobody asks for it
    if (reason === undefined) return [];
    const mend = `modprobe ${modules}, or make room, whichever it is; the next one that falls asleep has it tried again`;
    return [{ what, wrong: `there is none: ${reason}`, mend }];
  }
  if (kind !== "plain" || swapEncryption === "off") return [{ what: `${what} (${kind})` }];
  const mend = `modprobe ${modules}, and restart the supervisor; or have dataDir on an encrypted disk, and say so: tenants.sleep.swapEncryption: off`;
  return [{ what, wrong: `it is in clear: ${reason ?? "nothing else was asked for"}`, mend }];
}

function attempt<T>(run: () => T): { readonly value: T } | { readonly failed: string } {
  try {
    return { value: run() };
  } catch (error) {
    return { failed: reasonOf(error) };
  }
}
