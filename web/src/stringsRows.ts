// Strings of rows: how a row that writes is named, and captions about it. `KEY.written` is the caption KEY for rows that write.

export const kRows = {
  'part.source': ['source', '原文'],
  'part.target': ['target', '译文'],
  'part.first': ['first', '第一段'],
  'part.second': ['second', '第二段'],
  'list.quoted': ['”, “', '”、“'], // between names that a sentence quotes
  'row.named': ['A row that writes a token is named by that token.', '写出词元的行以该词元命名。'],
  'row.drawn': ['A row is named by the patch that it draws.', '每行以其画出的图块命名。'],
  'row.writing': ['writing “{whom}”{more}', '写“{whom}”{more}时'],
  'row.next': ['(next)', '（下一个）'],
  'row.end': ['(after the end)', '（结束之后）'],
  'answers.out.written': ['When writing “{whom}”{more}, it attends to', '写“{whom}”{more}时关注'],
  'status.out.written': ['weight when writing “{whom}”{more}: {weight}', '写“{whom}”{more}时的权重：{weight}'],
  'figure.out.written': ['What it attends to when writing “{whom}”.', '写“{whom}”时关注的内容。'],
  'span.caption': [
    'Mean share of attention from “{rows}” to “{keys}”, for the ten strongest heads.',
    '“{rows}”对“{keys}”的平均注意力占比，最强的十个头。',
  ],
  'span.caption.written': [
    'Mean share of attention to “{keys}” when writing “{rows}”, for the ten strongest heads.',
    '写“{rows}”时对“{keys}”的平均注意力占比，最强的十个头。',
  ],
  'compare.caption.written': [
    'What it attends to when writing “{whom}”: {after} minus {before}. Orange is an increase, blue a decrease.',
    '写“{whom}”时的注意力：{after} 减 {before}。橙色为增加，蓝色为减少。',
  ],
  'if.caption.written': [
    'What {head} attends to when writing “{whom}”, after minus before: orange is an increase, blue a decrease.',
    '写“{whom}”时 {head} 的注意力，改动后减改动前：橙色为增加，蓝色为减少。',
  ],
  'if.caption.before.written': [
    'What {head} attends to when writing “{whom}”, without the edits.',
    '未改动时，写“{whom}”时 {head} 的注意力。',
  ],
  'if.caption.after.written': ['What {head} attends to when writing “{whom}”, with the edits.', '改动后，写“{whom}”时 {head} 的注意力。'],
  'map.caption.words': [
    '{head}: queries down ({queries}), keys across ({keys}); each cell is the weight between two words: summed over keys, averaged over rows.',
    '{head}：纵轴为 {queries} 个查询，横轴为 {keys} 个键；每格是两个词之间的权重：对键求和，对行取平均。',
  ],
  'map.table.words': [
    'Each cell is the weight between two words of the part that the map shows.',
    '每格为图中所示部分的两个词之间的权重。',
  ],
} as const satisfies Record<string, readonly [string, string]>;
