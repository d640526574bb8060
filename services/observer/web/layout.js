// Where each part stands: columns by depth, rows by leaves. Leaves that follow one another stand in
// rows side by side, so that the whole fits on a screen; containers too, in wider cells.

export const NODE = { width: 128, height: 28, gapX: 34, gapY: 8 };
const LEAF = { width: 128, height: 28, gapX: 12, gapY: 8, least: 1, most: 3 };
const CARD = { width: 144, height: 32, gapX: 12, gapY: 8, least: 1, most: 8, shown: 120 };

const isContainer = (part) => Boolean(part.container);
const isLeaf = (part) => isContainer(part) || !(part.children ?? []).length;

/** Places for all parts that are shown: `{nodes: [{part, from, x, y, width, height}], ...}`. */
export function layOut(tree, room) {
  const state = { y: 0, room, nodes: [] };
  place(tree, 0, null, state);
  const { nodes } = state;
  return {
    nodes,
    width: Math.max(...nodes.map((node) => node.x + node.width)),
    height: Math.max(...nodes.map((node) => node.y + node.height)),
  };
}

function place(part, depth, from, state) {
  const node = { part, from, x: depth * (NODE.width + NODE.gapX), y: 0, ...size(NODE) };
  state.nodes.push(node);
  const top = state.y;
  const beside = []; // what the node is drawn in the middle of
  for (const run of runs(part.children ?? [])) {
    if (isLeaf(run[0])) beside.push(...placeLeaves(run, depth + 1, node, state));
    else beside.push(place(run[0], depth + 1, node, state));
  }
  if (!beside.length) {
    node.y = top;
    state.y = top + NODE.height + NODE.gapY;
    return node;
  }
  const last = beside.at(-1);
  node.y = (beside[0].y + last.y + last.height - NODE.height) / 2;
  return node;
}

const size = ({ width, height }) => ({ width, height });

/** Children that follow one another and are leaves of one sort, together; each other one alone. */
function runs(children) {
  const found = [];
  for (const child of children) {
    const run = found.at(-1);
    const joins = run && isLeaf(child) && isLeaf(run[0]) && isContainer(child) === isContainer(run[0]);
    if (joins) run.push(child);
    else found.push([child]);
  }
  return found;
}

/** Leaves in rows; the first of each row is returned. */
function placeLeaves(run, depth, from, state) {
  const cell = isContainer(run[0]) ? CARD : LEAF;
  const x = depth * (NODE.width + NODE.gapX);
  const fit = Math.floor((state.room - x + cell.gapX) / (cell.width + cell.gapX));
  const columns = Math.min(run.length, Math.max(cell.least, Math.min(cell.most, fit)));
  const shown = run.slice(0, cell.shown ?? run.length);
  const first = [];
  shown.forEach((part, index) => {
    const column = index % columns;
    const before = state.nodes.at(-1);
    const node = {
      part,
      from: column ? before : from,
      x: x + column * (cell.width + cell.gapX),
      y: state.y + Math.floor(index / columns) * (cell.height + cell.gapY),
      ...size(cell),
    };
    if (!column) first.push(node);
    state.nodes.push(node);
  });
  state.y += Math.ceil(shown.length / columns) * (cell.height + cell.gapY);
  if (run.length > shown.length) {
    const part = { path: `${from.part.path}/…`, id: `${run.length - shown.length} more`, state: "" };
    state.nodes.push({ part, from, x, y: state.y, ...size(cell), isNote: true });
    state.y += cell.height + cell.gapY;
  }
  return first;
}
