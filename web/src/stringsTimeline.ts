// Strings of the timeline: generated tokens, steps of training, steps of an episode.

export const kTimeline = {
  'timeline.label': ['Timeline', '时间线'],
  'timeline.play': ['Play (Space)', '播放 (Space)'],
  'timeline.pause': ['Pause (Space)', '暂停 (Space)'],
  'timeline.step': ['after {n} of {of} steps', '训练 {n} / {of} 步后'],
  'timeline.steps': ['Training steps', '训练步数'],
  'timeline.token': ['“{token}”, {share}, token {n} of {of}', '“{token}”，{share}，第 {n} / {of} 个词元'],
  'timeline.tokens': ['Generated tokens', '生成的词元'],
  'timeline.probability': ['Probability', '概率'],
  'timeline.none': ['no generated token chosen', '未选中生成的词元'],
  'timeline.none.episode': ['no step chosen', '未选中步'],
  'timeline.of': ['{name} of {of}', '{name} / {of}'],
  'timeline.episode': ['Steps of the episode', '回合的各步'],
  'timeline.caption.episode': [
    'The episode, step by step: each step attends to what the policy saw up to it.',
    '逐步播放该回合：每一步关注策略到此为止所见的内容。',
  ],
  'timeline.caption.training': [
    'How the heads form: the same text, read by the model after more and more training steps.',
    '注意力头的形成过程：同一段文本，由训练步数递增的模型读取。',
  ],
  'timeline.caption.generated': [
    'Each generated token with its probability, and the row that wrote it.',
    '每个生成的词元及其概率，以及写出它的那一行。',
  ],
} as const satisfies Record<string, readonly [string, string]>;
