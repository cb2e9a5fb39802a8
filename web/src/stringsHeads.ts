// Strings of means over heads, and of the neuron view: [English, Chinese].

export const kHeads = {
  mean: ['mean', '平均'],
  'mean.heads': ['the mean over the heads of layer {layer}', '第 {layer} 层各头的平均'],
  'mean.layers': ['the mean of head {head} over all layers', '第 {head} 头在各层的平均'],
  'mean.all': ['the mean over all heads of all layers', '所有层所有头的平均'],
  'caption.heads': ['this is {what}', '这是{what}'],
  'feature.mean': ['means over heads', '各头的平均'],
  'one-head': ['A mean over heads is shown: choose one head.', '当前显示的是各头的平均：请选择一个头。'],
  'view.neuron': ['Neuron view', '神经元视图'],
  'view.neuron.title': [
    'How the scores of a row are made: query, key and their products in every channel (n)',
    '一行的得分如何得出：各通道的查询、键及其乘积 (n)',
  ],
  'feature.neurons': ['scores by channel', '逐通道的得分'],
  'neuron.title': ['Neuron view: {head}, “{row}”', '神经元：{head}，“{row}”'],
  'neuron.words': ['Words around the query: click one to see its scores', '查询附近的词：点击可查看其得分'],
  'neuron.key': ['key', '键'],
  'neuron.k': ['k', 'k'],
  'neuron.q': ['“{row}”: q', '“{row}”：q'],
  'neuron.products': ['scale · q · k', '缩放 · q · k'],
  'neuron.strongest': ['largest channels', '最大的通道'],
  'neuron.sum': ['sum', '总和'],
  'neuron.weight': ['weight', '权重'],
  'neuron.channel': ['channel', '通道'],
  'neuron.caption': [
    'The {n} keys with the largest weights for “{row}”. The score of a key is the sum of its products over all channels, with scale {scale}.',
    '“{row}”权重最大的 {n} 个键。键的得分是各通道乘积之和，缩放系数为 {scale}。',
  ],
  'neuron.terms': [
    ' This layer changes the sum further, for example by a position bias or a soft cap.',
    '该层还会进一步调整总和，例如加位置偏置或做软上限。',
  ],
  'neuron.how': ['Point at a cell to read its channel.', '指向某个格子可读取其通道的数值。'],
  'neuron.status.q': ['channel {channel}: q {q}', '通道 {channel}：q {q}'],
  'neuron.status': [
    'channel {channel}: q {q}, k of “{key}” {k}, product {product}',
    '通道 {channel}：q {q}，“{key}”的 k {k}，乘积 {product}',
  ],
} as const satisfies Record<string, readonly [string, string]>;
