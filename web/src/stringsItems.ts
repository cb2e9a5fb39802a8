// Strings of the items that are not tokens: patches, frames, intervals of a series, people, nodes of a graph.

export const kItems = {
  'items.label': ['Items other than text', '非文本条目'],
  'items.of': ['{name} of {rows} × {columns}', '{name}（共 {rows} × {columns}）'],
  'items.elsewhere': [
    '“{name}” is neither a row nor a column of these maps; it may belong to another type of attention.',
    '“{name}”既不是这些矩阵的行，也不是列；可能属于另一种注意力。',
  ],
  'items.layers': ['Weights of each layer; click one to select it', '各层的权重；点击选择某层'],
  'picture.label': [
    'Picture of {rows} × {columns} patches; brighter means more weight',
    '由 {rows} × {columns} 个图块组成的图片，越亮表示权重越大',
  ],
  'picture.plain': ['The original picture', '原图'],
  'picture.weights': ['{rows} × {columns} patches: brighter means more weight', '{rows} × {columns} 个图块：越亮表示权重越大'],
  'boxes.label': ['{n} {items} on their picture, coloured by weight', '图上的 {n} 个{items}，颜色表示权重'],
  'boxes.caption': [
    '{n} {items} at their places, each filled with the colour of its weight. The selected one has a red outline.',
    '{n} 个{items}在各自的位置上，填充色表示权重。红色轮廓为所选项。',
  ],
  'strip.label': ['{n} {items} from left to right, with their weights below', '从左到右 {n} 个{items}，下方为其权重'],
  'strip.caption': [
    '{n} {items}, {from} to {to}: bars show the weights of the selection, and the rows below them show the weights of each query.',
    '{n} 个{items}，{from} 至 {to}：柱为所选项的权重，下方各行为每个查询的权重。',
  ],
  'strip.caption.bars': [
    '{n} {items}, {from} to {to}: bars show the weights of the selection.',
    '{n} 个{items}，{from} 至 {to}：柱为所选项的权重。',
  ],
  'graph.choose': [
    'A graph of {n} nodes. Search for the name of a node and press Enter to see its neighbours.',
    '共 {n} 个节点的图。搜索节点名称并按回车，可查看它的邻居。',
  ],
  'graph.caption.out': [
    '{name} and the {first} other nodes that it attends to; thicker lines are larger weights.',
    '{name}及其关注的另外 {first} 个节点；线越粗权重越大。',
  ],
  'graph.caption.in': [
    '{name} and the {first} other nodes that attend to it; thicker lines are larger weights.',
    '{name}及关注它的另外 {first} 个节点；线越粗权重越大。',
  ],
  'graph.second': [
    'The outer {n} nodes are the neighbours of these nodes; the lines to them do not represent weights.',
    '外圈的 {n} 个节点是它们的邻居，其连线不表示权重。',
  ],
  'graph.left': ['{n} more nodes are not drawn.', '另有 {n} 个节点未画出。'],
  'graph.table': ['Weights as a table', '以表格显示权重'],
  'graph.node': ['node', '节点'],
  'graph.weight': ['weight', '权重'],
  'kind.token': ['tokens', '词元'],
  'kind.sentence': ['sentences', '句子'],
  'kind.document': ['document', '文档'],
  'kind.turn': ['turns', '话轮'],
  'kind.slot': ['memory slots', '记忆槽'],
  'kind.patch': ['patches', '图块'],
  'kind.frame': ['frames', '帧'],
  'kind.interval': ['intervals', '区间'],
  'kind.person': ['people', '行人'],
  'kind.object': ['objects', '物体'],
  'kind.node': ['nodes', '节点'],
  'kind.query': ['query', '查询'],
} as const satisfies Record<string, readonly [string, string]>;
