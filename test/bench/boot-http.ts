import { execFileSync } from "node:child_process";
import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { type BootPart, type BootPartOptions, listOf, median } from "./boot-part.ts";
import { type Peers, peers } from "./peers.ts";
import { type Contestant, cpuSecondsOfAll, layWire, peer, startBootProcess, type Wire } from "./wire.ts";

const SERVER = "10.77.0.1";
const NONCE = "0123456789abcdefghijkl";
const GIGABYTE = 1e9;

interface HttpContestant extends Contestant {
  readonly url: string;
}

interface Run {
  /** Of the server, for each gigabyte. */
  readonly cpu: number;
  /** Gigabytes a second, of all clients together. */
  readonly rate: number;
}

/**
 * Large files by HTTP to one client and to 16 at once, in the server's namespace itself so that no cable is measured: ours beside
 * nginx with sendfile. Once with the host's congestion control, by which nginx sends and ours does not; and, where that paces
 * segments as BBR does, once more without, so that the servers alone are compared.
 */
export async function benchHttp({ quick, say }: BootPartOptions): Promise<BootPart> {
  const packages = await peers(["nginx-light"]);
  const wire = layWire("iw-bench-http", { here: `${SERVER}/24` });
  const bytes = (quick ? 64 : 256) * 2 ** 20;
  const figures: Record<string, number> = {};
  const ratios: Record<string, number> = {};
  const table = [["HTTP", "GB/s", "server CPU s per GB"]];
  try {
    const root = writeFile(wire, bytes);
    const contestants = [nginx(wire, packages, root), ours(wire, root)];
    for (const [control, clients] of both(congestionControls(), [1, 16])) {
      sysctl(wire, `${CONTROL}=${control}`);
      const runs: Record<string, Run[]> = {};
      for (let time = 0; time < (quick ? 1 : 5); time++) {
        for (const contestant of contestants) {
          listOf(runs, contestant.name).push(await measure(wire, contestant, clients, bytes, quick));
        }
      }
      const cpu: Record<string, number> = {};
      for (const { name } of contestants) {
        const all = runs[name] ?? [];
        const one = median(all.map((run) => run.cpu));
        const rate = median(all.map((run) => run.rate));
        cpu[name] = one;
        figures[`${name} HTTP ${clients} clients ${control} CPU s/GB`] = Number(one.toFixed(3));
        figures[`${name} HTTP ${clients} clients ${control} GB/s`] = Number(rate.toFixed(2));
        table.push([`${name}, ${clients} ${clients === 1 ? "client" : "clients"}, ${control}`, rate.toFixed(2), one.toFixed(3)]);
        say(`${name}, ${clients} clients, ${control}: ${one.toFixed(3)} CPU s/GB of ${all.map((run) => run.cpu.toFixed(3)).join(" ")}`);
      }
      ratios[`http ${clients} clients ${control}, bytes per CPU second`] = (cpu.nginx ?? 0) / (cpu.Ironwright ?? 1);
    }
    ratios.http = Math.min(...Object.values(ratios));
    return { ratios, figures, table };
  } finally {
    wire.remove();
  }
}

const CONTROL = "net.ipv4.tcp_congestion_control";

/** The host's, and one that paces nothing: of those, the only one a namespace may choose for itself on every host. */
function congestionControls(): readonly string[] {
  const own = execFileSync("sysctl", ["-n", CONTROL], { encoding: "utf8" }).trim();
  return own === "bbr" ? [own, "reno"] : [own];
}

function sysctl(wire: Wire, setting: string): void {
  execFileSync("ip", ["netns", "exec", wire.here, "sysctl", "-qw", setting]);
}

function both<A, B>(these: readonly A[], those: readonly B[]): readonly (readonly [A, B])[] {
  return these.flatMap((one) => those.map((other) => [one, other] as const));
}

async function measure(wire: Wire, contestant: HttpContestant, clients: number, bytes: number, quick: boolean): Promise<Run> {
  const server = await contestant.start();
  try {
    // neither is measured in its first requests: the page cache is warm before, and what compiles as it runs has compiled
    await fetchAll(wire, contestant.url, 1, 1, bytes);
    await fetchParts(wire, contestant.url, 100);
    const each = Math.ceil((quick ? 4 : 16) / clients);
    const used = cpuSecondsOfAll(server.pid);
    const began = performance.now();
    await fetchAll(wire, contestant.url, clients, each, bytes);
    const seconds = (performance.now() - began) / 1000;
    const gigabytes = (clients * each * bytes) / GIGABYTE;
    return { cpu: (cpuSecondsOfAll(server.pid) - used) / gigabytes, rate: gigabytes / seconds };
  } finally {
    await server.end();
  }
}

async function fetchAll(wire: Wire, url: string, clients: number, each: number, bytes: number): Promise<void> {
  const command = ["-sf", "--max-time", "120", "-o", "/dev/null", "-w", "%{size_download}\n"];
  const one = async () => {
    for (let time = 0; time < each; time++) {
      const child = wire.start(wire.here, "curl", [...command, url]);
      let out = "";
      child.stdout?.on("data", (part) => (out += part));
      await new Promise((resolve, reject) => child.once("error", reject).once("close", resolve));
      if (Number(out) !== bytes) throw new Error(`curl got ${out.trim() || "nothing"} of ${bytes} bytes of ${url}`);
    }
  };
  await Promise.all(Array.from({ length: clients }, one));
}

/** Short answers, one after the other over one connection. */
async function fetchParts(wire: Wire, url: string, count: number): Promise<void> {
  const each = Array.from({ length: count }, () => ["-o", "/dev/null", url]).flat();
  const child = wire.start(wire.here, "curl", ["-sf", "--max-time", "60", "-r", "0-69999", "-w", "%{size_download}\n", ...each]);
  let out = "";
  child.stdout?.on("data", (part) => (out += part));
  await new Promise((resolve, reject) => child.once("error", reject).once("close", resolve));
  if (out !== "70000\n".repeat(count)) throw new Error(`curl got other than ${count} parts of ${url}`);
}

function nginx(wire: Wire, packages: Peers, root: string): HttpContestant {
  const file = join(wire.directory, "nginx.conf");
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((one) => `${one}_temp_path ${wire.directory};`).join(" ");
  const events = "events { worker_connections 1024; }";
  const server = `server { listen ${SERVER}:8081; root ${root}; }`;
  const main = `worker_processes 1; daemon off; user root; pid ${join(wire.directory, "nginx.pid")}; error_log ${join(wire.directory, "nginx.log")};`;
  writeFileSync(file, `${main}\n${events}\nhttp { access_log off; sendfile on; tcp_nopush on; ${temporary} ${server} }\n`);
  const args = ["-c", file, "-e", join(wire.directory, "nginx.log")];
  return { ...peer("nginx", wire, packages, "nginx", args), url: `http://${SERVER}:8081/kernel` };
}

function ours(wire: Wire, root: string): HttpContestant {
  return {
    name: "Ironwright",
    url: `http://${SERVER}:8080/boot/${NONCE}/kernel`,
    async start() {
      const at = { name: "prov0", address: `${SERVER}/24`, mode: "reservation", routerAdvertisements: false } as const;
      const assets = { pxeDir: root, kernel: join(root, "kernel"), initrd: join(root, "kernel") };
      const plane = await startBootProcess(wire, { interfaces: [{ ...at, pool: { from: "10.77.0.10", to: "10.77.0.99" } }], assets });
      const intent = { boot: "installer", nonce: NONCE, authorizedKey: "ssh-ed25519 AAAAC3Nz", kernelArguments: [] } as const;
      await plane.call("remember", { machine: "bench-1", macs: ["52:54:00:77:00:01"], hostname: "bench-1", intent });
      return plane;
    },
  };
}

function writeFile(wire: Wire, bytes: number): string {
  const root = join(wire.directory, "root");
  mkdirSync(root, { mode: 0o755 });
  const part = Buffer.alloc(2 ** 20);
  for (let at = 0; at < part.length; at += 4) part.writeUInt32LE(Math.imul(at, 2654435761) >>> 0, at);
  const file = openSync(join(root, "kernel"), "w");
  for (let at = 0; at < bytes; at += part.length) writeSync(file, part);
  closeSync(file);
  return root;
}
