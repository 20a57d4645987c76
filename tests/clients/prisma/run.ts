// Every operation of every model through a real client, each in a transaction of its own that is rolled back.
// Prints what became of each: tests/clients/prisma.txt is what it should be.
import { PrismaPg } from "@prisma/adapter-pg";
import { PrismaClient } from "./generated/client.ts";
import { MOMENT, SET_CONTEXT, parseKey, sign } from "./sign.ts";

const given = JSON.parse(process.env.SESARI_TEST_PRISMA!);
const key = parseKey(given.key);
const client = (connectionString: string) =>
  new PrismaClient({
    adapter: new PrismaPg({ connectionString, max: 1 }),
    omit: { integration: { credentials: true } },
  });
const tenants = client(given.url);
const services = client(given.serviceUrl);

class Undo extends Error {}

/** Runs in a transaction under a signed context, and undoes it. */
async function as<T>(actor: string, workspace: string, work: (tx: any) => Promise<T>, kind: "u" | "s" = "u"): Promise<T> {
  let result: T;
  try {
    await (kind === "u" ? tenants : services).$transaction(async (tx) => {
      const [{ now, pid }] = await tx.$queryRawUnsafe<{ now: string; pid: number }[]>(MOMENT);
      const context = sign(key, { kind, actor, workspace, issuedAt: BigInt(now), pid });
      await tx.$queryRawUnsafe(SET_CONTEXT, context);
      result = await work(tx);
      throw new Undo();
    });
  } catch (error) {
    if (!(error instanceof Undo)) throw error;
  }
  return result!;
}

const { workspace, owner, member, stranger, kpi, goal, link, membership, integration } = given;
const inWorkspace = (id: string) => ({ workspaceId_id: { workspaceId: workspace, id } });
const point = { workspaceId: workspace, kpiId: kpi, timestamp: "2026-01-01T00:00:00.000Z", source: "" };
const packedPoint = { workspaceId: workspace, kpiId: "spare1", timestamp: "2020-01-05T00:00:00.000Z", source: "" };
const target = { workspaceId: workspace, kpiId: kpi, recordedAt: given.recordedAt };

interface Model {
  /** Finds a row that is there. */
  key: object;
  /** The same as conditions of its fields. */
  where: object;
  /** The key of a row that is not there. */
  missing: object;
  fresh: (n: number) => object;
  change: object;
  by: string;
}

const models: Record<string, Model> = {
  user: {
    key: { id: stranger }, where: { id: stranger }, missing: { id: "none" }, by: "provider",
    fresh: (n) => ({ email: `new${n}@example.com`, provider: "google", providerId: `new${n}` }),
    change: { name: "New" },
  },
  workspace: {
    key: { id: workspace }, where: { id: workspace }, missing: { id: "none" }, by: "name",
    fresh: (n) => ({ name: "New", slug: `new-${n}` }),
    change: { name: "New" },
  },
  workspaceUser: {
    key: inWorkspace(membership), where: { id: membership }, missing: inWorkspace("none"), by: "role",
    fresh: (n) => ({ userId: n === 0 ? stranger : owner, workspaceId: workspace }),
    change: { role: "admin" },
  },
  kpi: {
    key: inWorkspace(kpi), where: { id: kpi }, missing: inWorkspace("none"), by: "category",
    fresh: (n) => ({ name: `New ${n}` }),
    change: { name: "New" },
  },
  kpiDataPoint: {
    key: { workspaceId_kpiId_timestamp_source: point }, where: point, by: "source",
    missing: { workspaceId_kpiId_timestamp_source: { ...point, source: "none" } },
    fresh: (n) => ({ kpiId: kpi, value: n }),
    change: { value: 7 },
  },
  kpiPoint: {
    key: { workspaceId_kpiId_timestamp_source: packedPoint }, where: packedPoint, by: "source",
    missing: { workspaceId_kpiId_timestamp_source: { ...packedPoint, source: "none" } },
    fresh: (n) => ({ ...packedPoint, source: `new${n}`, value: n, startsAt: packedPoint.timestamp, endsAt: packedPoint.timestamp }),
    change: { value: 7 },
  },
  kpiTarget: {
    key: { workspaceId_kpiId_recordedAt: target }, where: target, by: "period",
    missing: { workspaceId_kpiId_recordedAt: { ...target, recordedAt: "2020-01-01T00:00:00.000Z" } },
    fresh: (n) => ({ kpiId: kpi, period: "month", effectiveFrom: new Date("2026-01-01"), value: n }),
    change: { value: 7 },
  },
  goal: {
    key: inWorkspace(goal), where: { id: goal }, missing: inWorkspace("none"), by: "status",
    fresh: (n) => ({ title: `New ${n}` }),
    change: { title: "New" },
  },
  goalKpi: {
    key: inWorkspace(link), where: { id: link }, missing: inWorkspace("none"), by: "goalId",
    fresh: (n) => ({ goalId: goal, kpiId: `spare${n}` }),
    change: { weight: 2 },
  },
  integration: {
    key: inWorkspace(integration), where: { id: integration }, missing: inWorkspace("none"), by: "provider",
    fresh: () => ({ provider: "sheets", credentials: given.envelope }),
    change: { isActive: false },
  },
  subscription: {
    key: { userId: owner }, where: { userId: owner }, missing: { userId: stranger }, by: "planType",
    fresh: (n) => ({ userId: n === 0 ? stranger : member, status: "active", planType: "pro" }),
    change: { planType: "free" },
  },
};

type Operation = (table: any, model: Model) => Promise<unknown>;
const operations: Record<string, Operation> = {
  create: (t, m) => t.create({ data: m.fresh(0) }),
  createMany: (t, m) => t.createMany({ data: [m.fresh(0), m.fresh(1)] }),
  createManyAndReturn: (t, m) => t.createManyAndReturn({ data: [m.fresh(0), m.fresh(1)] }),
  findUnique: (t, m) => t.findUnique({ where: m.key }),
  findUniqueOrThrow: (t, m) => t.findUniqueOrThrow({ where: m.key }),
  findFirst: (t, m) => t.findFirst({ where: m.where }),
  findMany: (t) => t.findMany(),
  count: (t) => t.count(),
  aggregate: async (t) => (await t.aggregate({ _count: true }))._count,
  groupBy: (t, m) => t.groupBy({ by: [m.by], _count: true }),
  update: (t, m) => t.update({ where: m.key, data: m.change }),
  updateMany: (t, m) => t.updateMany({ where: m.where, data: m.change }),
  updateManyAndReturn: (t, m) => t.updateManyAndReturn({ where: m.where, data: m.change }),
  upsertMissing: (t, m) => t.upsert({ where: m.missing, create: m.fresh(0), update: m.change }),
  upsertExisting: (t, m) => t.upsert({ where: m.key, create: m.fresh(0), update: m.change }),
  delete: (t, m) => t.delete({ where: m.key }),
  deleteMany: (t, m) => t.deleteMany({ where: m.where }),
};

function found(result: any): boolean {
  if (Array.isArray(result)) return result.length > 0;
  if (typeof result === "number") return result > 0;
  return result !== null && result.count !== 0;
}

/** What the server said. */
function told(error: any): string {
  const cause = error?.meta?.driverAdapterError?.cause ?? error?.cause ?? {};
  const code = cause.originalCode ?? cause.code ?? error?.code ?? error?.name;
  const message = cause.originalMessage ?? error?.message ?? "";
  return `${code} ${String(message).split("\n").filter(Boolean).pop()}`;
}

/** Why it is so, for each refusal that is meant to be. */
const reasons: [RegExp, string][] = [
  [/table (users|subscriptions)$/, "all tenants' rows are in it, and what a condition passes over can be counted"],
  [/table workspaces$/, "sesari.create_workspace makes it with its first owner"],
  [/table integrations$/, "nobody reads credentials as a column: sesari.read_credentials"],
  [/view kpi_points$|view "kpi_points"/, "a view of all points: what is written goes into kpi_data_points"],
  [/table kpi_targets$/, "a target that was set is what it was: another is added"],
  [/table workspace_users$/, "nobody becomes a member without having agreed"],
];

async function attempt(name: string, work: () => Promise<unknown>): Promise<void> {
  let line: string;
  try {
    const result = await work();
    line = found(result) ? "ok" : "nothing";
  } catch (error) {
    const said = told(error);
    const why = reasons.find(([pattern]) => pattern.test(said))?.[1] ?? "UNEXPLAINED";
    line = `refused: ${said}: ${why}`;
  }
  console.log(`${name}: ${line}`);
}

function expect(holds: boolean, what: string): void {
  if (!holds) throw new Error(`not so: ${what}`);
}

for (const [name, model] of Object.entries(models)) {
  for (const [operation, run] of Object.entries(operations)) {
    await attempt(`${name}.${operation}`, () => as(owner, workspace, (tx) => run(tx[name], model)));
  }
}

await attempt("integration.findMany with credentials", () =>
  as(owner, workspace, (tx) => tx.integration.findMany({ omit: { credentials: false } })),
);

// What no tenant's login reaches, a service's does.
for (const name of ["user", "subscription"]) {
  for (const [operation, run] of Object.entries(operations)) {
    await attempt(`service: ${name}.${operation}`, () => as("jobs", "", (tx) => run(tx[name], models[name]), "s"));
  }
}

const scenarios: Record<string, () => Promise<unknown>> = {
  "contexts are signed as the vectors are": async () => {
    for (const v of given.vectors) {
      const { kind, actor, workspace, pid } = v;
      const context = sign(parseKey(v.key), { kind, actor, workspace, issuedAt: BigInt(v.issued_at), pid });
      expect(context === v.context, v.about);
    }
    return given.vectors.length;
  },
  "a point that was returned is found, corrected, upserted and deleted by its key": () =>
    as(owner, workspace, async (tx) => {
      const made = await tx.kpiDataPoint.create({ data: { kpiId: kpi, value: 1 } });
      const where = { workspaceId_kpiId_timestamp_source: { workspaceId: made.workspaceId, kpiId: made.kpiId, timestamp: made.timestamp, source: made.source } };
      expect((await tx.kpiDataPoint.findUnique({ where }))?.value === 1, "found");
      await tx.kpiDataPoint.update({ where, data: { value: 2 } });
      const before = await tx.kpiDataPoint.count();
      await tx.kpiDataPoint.upsert({ where, create: { kpiId: kpi, timestamp: made.timestamp, value: 3 }, update: { value: 3 } });
      expect((await tx.kpiDataPoint.count()) === before, "no second point");
      await tx.kpiDataPoint.delete({ where });
      return 1;
    }),
  "a KPI is made with points that have no time, and read with them": () =>
    as(owner, workspace, async (tx) => {
      const made = await tx.kpi.create({
        data: { name: "Nested", dataPoints: { create: [{ value: 1 }, { value: 2 }, { value: 3 }] } },
        include: { dataPoints: { orderBy: { timestamp: "asc" } }, goalKpis: true },
      });
      expect(made.dataPoints.map((p: any) => p.value).join() === "1,2,3", "in their order");
      const kept = await tx.kpi.findUnique({ where: inWorkspace(made.id) });
      expect(kept.currentValue === 3, "the newest is current");
      return 1;
    }),
  "points that are packed are read with the others, in the view": () =>
    as(owner, workspace, async (tx) => {
      const where = inWorkspace("spare1");
      const read = await tx.kpi.findUnique({ where, include: { points: { orderBy: { timestamp: "asc" } }, dataPoints: true } });
      expect(read.points.map((p: any) => p.value).join() === "1,2,3,4,5,6,7,8,9,10", "all in the view");
      expect(read.dataPoints.length === 1, "all but the newest are packed");
      const since = new Date("2020-01-12");
      const late = await tx.kpiPoint.findMany({ where: { kpiId: "spare1", timestamp: { gte: since }, endsAt: { gte: since } } });
      expect(late.length === 2, "from a day on");
      return 1;
    }),
  "targets set in one call follow each other": () =>
    as(owner, workspace, async (tx) => {
      const set = (value: number) => ({ kpiId: kpi, effectiveFrom: new Date("2026-02-01"), period: "month", value });
      await tx.kpiTarget.createMany({ data: [set(1), set(2)] });
      const where = { kpiId: kpi, period: "month" };
      const newest = await tx.kpiTarget.findFirst({ where, orderBy: [{ effectiveFrom: "desc" }, { recordedAt: "desc" }] });
      expect(newest.value === 2, "the last one counts");
      return 1;
    }),
  "a goal is made with its links": () =>
    as(owner, workspace, (tx) =>
      tx.goal.create({
        data: { title: "Nested", goalKpis: { create: [{ kpiId: "spare0" }, { kpiId: "spare1" }] } },
        include: { goalKpis: { include: { kpi: true } } },
      }),
    ),
  "pages by createdAt give each KPI once": () =>
    as(owner, workspace, async (tx) => {
      for (let n = 0; n < 12; n++) await tx.kpi.create({ data: { name: `Page ${n}` } });
      const orderBy = [{ createdAt: "asc" }, { id: "asc" }];
      const seen: any[] = [];
      for (;;) {
        const last = seen.at(-1);
        const where = last && { OR: [{ createdAt: { gt: last.createdAt } }, { createdAt: last.createdAt, id: { gt: last.id } }] };
        const page = await tx.kpi.findMany({ where, orderBy, take: 5 });
        seen.push(...page);
        if (page.length === 0 || seen.length > 100) break;
      }
      expect(seen.length === (await tx.kpi.count()) && new Set(seen.map((k) => k.id)).size === seen.length, "each once");
      return 1;
    }),
  "a change since updatedAt was read is noticed": () =>
    as(owner, workspace, async (tx) => {
      const read = await tx.kpi.findUnique({ where: inWorkspace(kpi) });
      const where = { id: kpi, updatedAt: read.updatedAt };
      expect((await tx.kpi.updateMany({ where, data: { name: "Mine" } })).count === 1, "unchanged");
      expect((await tx.kpi.updateMany({ where, data: { name: "Late" } })).count === 0, "changed");
      return 1;
    }),
  "what another workspace has is not there": () =>
    as(owner, workspace, async (tx) => {
      expect((await tx.kpi.findMany()).every((k: any) => k.workspaceId === workspace), "own ones alone");
      const where = { workspaceId_id: { workspaceId: given.other.workspace, id: given.other.kpi } };
      expect((await tx.kpi.findUnique({ where })) === null, "not found");
      return 1;
    }),
  "a member who is none sees nothing": () =>
    as(stranger, workspace, async (tx) => {
      expect((await tx.kpi.count()) === 0 && (await tx.workspace.count()) === 0, "nothing");
      return 1;
    }),
  "a user makes a workspace from the own context": () =>
    as(stranger, "", (tx) => tx.$queryRaw`SELECT * FROM sesari.create_workspace('w1', 'm1', 'Mine', 'mine')`),
  "members' names are looked up by function": () =>
    as(owner, workspace, (tx) => tx.$queryRaw`SELECT * FROM sesari.member_profiles(${[owner]})`),
};

for (const [name, run] of Object.entries(scenarios)) await attempt(name, run);
await Promise.all([tenants.$disconnect(), services.$disconnect()]);
