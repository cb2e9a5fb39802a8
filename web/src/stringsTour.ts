// Strings of the opening sentence, the guided tour and the glossary.

export const kTour = {
  'sentence.answer': ['The model’s answer: {answer}', '模型的答案：{answer}'],
  'sentence.says': [
    '“{query}” attends to “{key}” with a weight of {share} in head {head}.',
    '在 {head} 中，“{query}”对“{key}”的权重为 {share}。',
  ],
  'sentence.with': ['With “{to}” instead of “{from}”, ', '把“{from}”换成“{to}”之后，'],
  'sentence.points': [
    'The weight of “{key}” goes from {before} to {after} ({points} percentage points).',
    '“{key}”的权重由 {before} 变为 {after}（{points} 个百分点）。',
  ],
  'sentence.how': [
    'A line from a word shows how much it attends to another one: the thicker, the more. Click another word to see its lines.',
    '从一个词引出的线表示它对其他词的注意力，线越粗，注意力越大。点击其他词可查看它的连线。',
  ],
  'sentence.open': ['See all heads and weights', '查看所有注意力头和权重'],
  'sentence.heads': ['Where “{query}” looks, head by head:', '“{query}”在各个注意力头中看向：'],
  'sentence.itself': ['itself', '自身'],

  'tour.start': ['Tour in seven steps', '七步导览'],
  'tour.label': ['Guided tour', '导览'],
  'tour.step': ['Step {n} of {of}', '第 {n} 步，共 {of} 步'],
  'tour.done': ['Done', '完成'],
  'tour.text': [
    'The model reads this text in pieces called tokens; most of them are words. One is chosen, with a frame around it: it is the query.',
    '模型把文本分成词元来读，多数词元就是一个词。带框的词元是当前选中的，即查询。',
  ],
  'tour.shade': [
    'The query divides its attention among the tokens that it can see, the keys. The shares add up to 100\u202f%. The more a key gets, the stronger its colour; the bar shows which colour stands for which share.',
    '查询把注意力分配给它能看到的词元，即键，各份额合计 100\u202f%。键得到的份额越大，颜色越强；色条说明颜色对应的份额。',
  ],
  'tour.list': [
    'Here are the keys with the largest shares, as numbers. Click another word of the text, and its shares are shown instead.',
    '这里用数字列出份额最大的键。点击文本中的另一个词，就会显示它的份额。',
  ],
  'tour.head': [
    'A model has several layers, and each layer has several heads. Every head divides the attention in its own way. This is the head that is shown; Alt and the arrow keys choose another one.',
    '模型有若干层，每层有若干个注意力头，每个头以自己的方式分配注意力。这是当前显示的头，按 Alt 加方向键可换一个。',
  ],
  'tour.atlas': [
    'These are all heads, with scores of what they do on this text: “previous” is the share that goes to the token before the query. Click a head to see it.',
    '这里是所有注意力头，以及它们在本文上的得分：“前一词”是分配给查询前一个词元的份额。点击可查看某个头。',
  ],
  'tour.map': [
    'The map shows the whole text at once: each row is a query, and each column is a key. The frame marks the row of the chosen token.',
    '矩阵图一次显示全文：每行是一个查询，每列是一个键，线框标出选中词元所在的行。',
  ],
  'tour.why': [
    'Attention shows where a head looks, not why the model answers as it does. For that, “Why” changes the input and measures how the answer changes.',
    '注意力说明某个头看向哪里，并不说明模型为何如此回答。“为何”会改动输入并测量答案的变化。',
  ],
  'tour.why.no-model': [
    'Attention shows where a head looks, not why the model answers as it does. That takes a model, which this page does not have: “clearhead view” with a model opens a page that can answer “Why”.',
    '注意力说明某个头看向哪里，并不说明模型为何如此回答。要知道原因需要模型，而本页没有：用“clearhead view”打开模型，页面就能回答“为何”。',
  ],

  glossary: ['Words', '术语'],
  'glossary.token': ['token', '词元'],
  'glossary.token.is': [
    'A piece of the text that the model reads as a unit: a word or a part of one.',
    '模型作为一个单位读入的文本片段：一个词或词的一部分。',
  ],
  'glossary.query': ['query', '查询'],
  'glossary.query.is': ['The token whose attention is divided: a row of the map.', '分配注意力的词元，对应矩阵图的一行。'],
  'glossary.key': ['key', '键'],
  'glossary.key.is': ['A token that attention goes to: a column of the map.', '得到注意力的词元，对应矩阵图的一列。'],
  'glossary.head': ['head', '头'],
  'glossary.head.is': [
    'One of several attention functions that a layer computes side by side. L2.H1 is head 1 of layer 2, counted from 0.',
    '一层中并行计算的若干注意力函数之一。L2.H1 是第 2 层的第 1 个头，从 0 开始计数。',
  ],
  'glossary.layer': ['layer', '层'],
  'glossary.layer.is': [
    'One step of the model. Each layer reads the output of the one before it.',
    '模型的一个步骤，每层读取前一层的输出。',
  ],
  'glossary.sink': ['sink', '汇点'],
  'glossary.sink.is': [
    'A token that gets much attention from everywhere without being relevant, often the first one: heads with nothing to look for leave their attention there.',
    '无关紧要却从各处得到大量注意力的词元，常为首个词元：无处可看的头把注意力放在那里。',
  ],
  'glossary.entropy': ['entropy', '熵'],
  'glossary.entropy.is': [
    'How widely a row is spread: 0 if all attention goes to one key, and larger the more keys share it.',
    '一行注意力的分散程度：全部集中于一个键时为 0，分到的键越多越大。',
  ],
  'glossary.logit': ['logit', 'logit'],
  'glossary.logit.is': [
    'The score that a model gives to a possible answer before the scores become probabilities.',
    '模型在把得分转为概率之前给每个可能答案的得分。',
  ],
} as const;
