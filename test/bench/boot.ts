/** `npm run bench -- boot [PART …] [--json FILE] [--quick]`: the boot plane beside the servers people use today. */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { benchDhcp } from "./boot-dhcp.ts";
import { benchHttp } from "./boot-http.ts";
import { benchPaper } from "./boot-paper.ts";
import { aligned, type BootPart, type BootPartOptions } from "./boot-part.ts";
import { benchRestart } from "./boot-restart.ts";
import { benchTftp } from "./boot-tftp.ts";

const parts: Readonly<Record<string, (options: BootPartOptions) => Promise<BootPart>>> = {
  dhcp: benchDhcp,
  paper: benchPaper,
  restart: benchRestart,
  tftp: benchTftp,
  http: benchHttp,
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: "string" }, quick: { type: "boolean", default: false } },
});
const unknown = positionals.find((name) => !(name in parts));
if (unknown !== undefined) throw new Error(`${unknown} is none of ${Object.keys(parts).join(", ")}`);

const ratios: Record<string, number> = {};
const figures: Record<string, number> = {};
for (const [name, part] of Object.entries(parts)) {
  if (positionals.length > 0 && !positionals.includes(name)) continue;
  const result = await part({ quick: values.quick, say: (line) => console.error(`  ${line}`) });
  Object.assign(ratios, result.ratios);
  Object.assign(figures, result.figures);
  console.log(`\n${aligned(result.table)}`);
}
const judged = Object.entries(ratios).map(([name, ratio]) => [name, ratio.toFixed(2)]);
if (judged.length > 0) console.log(`\n${aligned([["ours over the best peer", "ratio"], ...judged])}`);
if (values.json) writeFileSync(values.json, `${JSON.stringify({ ratios, figures }, null, 2)}\n`);
