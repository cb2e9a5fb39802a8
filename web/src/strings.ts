// All strings of the interface in both languages: [English, 中文]. {name} is a placeholder.

import type { Method } from './source/explain';
import type { MissingCode } from './source/source';
import { kCompare } from './stringsCompare';
import { kExplain, kMethodsInChinese } from './stringsExplain';
import { kFigure } from './stringsFigure';
import { kItems } from './stringsItems';
import { kHeads } from './stringsHeads';
import { kRows } from './stringsRows';
import { kTimeline } from './stringsTimeline';
import { kTour } from './stringsTour';

const kTable = {
  ...kExplain,
  ...kTimeline,
  ...kCompare,
  ...kFigure,
  ...kItems,
  ...kHeads,
  ...kRows,
  ...kTour,
  'view.label': ['View', '视图'],
  'view.more': ['More', '更多'],
  'view.read': ['Read', '阅读'],
  'view.read.title': ['Running text, shaded by what the head attends to (r)', '连续文本，按注意力着色 (r)'],
  'view.lines': ['Lines', '连线'],
  'view.lines.title': ['Two columns with curves between them (l)', '两列词元，以曲线相连 (l)'],
  'view.map': ['Map', '矩阵图'],
  'view.map.title': ['The whole matrix, to zoom and move like an online map (m)', '整个注意力矩阵，可像在线地图一样缩放和移动 (m)'],
  'view.atlas': ['Atlas', '图谱'],
  'view.atlas.title': ['All heads with their scores on this text (a)', '所有注意力头及其在本文上的得分 (a)'],
  'view.model': ['Model view', '模型总览'],
  'view.model.title': [
    'Every head of a short text as lines, layers down and heads across (v)',
    '短文本中每个头的连线，纵向为层，横向为头 (v)',
  ],
  'model.frame': ['Heads as lines, scrollable', '各头的连线，可滚动'],
  'model.caption': [
    'Every head, layers down and heads across: lines go from each query on the left to its keys on the right. A stronger line is a larger weight ({scale}, relative to the largest weight of the head). The lines of the chosen token stand out.',
    '每个头一格，纵向为层，横向为头：线从左侧的查询连到右侧的键，权重越大线越重（{scale}，相对于该头的最大权重）。选中词元的线突出显示。',
  ],
  'model.how': ['Click a head to see it large.', '点击某个头可放大查看。'],
  'model.long': [
    'This view is for texts of at most {n} tokens; the atlas shows longer ones.',
    '此视图适用于不超过 {n} 个词元的文本；更长的文本请用图谱查看。',
  ],
  'text.label': ['Text', '文本'],
  'minimap.label': [
    'Overview of the text: segments, search hits, weights and the part in view. Drag to scroll.',
    '全文缩略图：段落、搜索结果、权重与当前位置。拖动可滚动。',
  ],
  'status.how': [
    'Point at a word to preview it, click to pin it, Shift+click to select a span.',
    '指向词语可预览，点击可固定；Shift+点击选取一段。',
  ],
  'status.how.items': [
    'Point at a word or an item to see its weight, click to select it, Shift+click to select several.',
    '指向词语或条目可查看权重，点击选定；Shift+点击选取多个。',
  ],
  'status.out': ['weight from “{whom}”{more}: {weight}', '来自“{whom}”{more}的权重：{weight}'],
  'status.in': ['weight on “{whom}”{more}: {weight}', '对“{whom}”{more}的权重：{weight}'],
  'answers.label': ['What it attends to', '关注的内容'],
  'answers.none': ['Choose a word', '请选择一个词'],
  'answers.failed': ['Not available', '不可用'],
  'answers.how': ['Click a word in the text, or press → to start.', '点击文本中的词，或按 → 开始。'],
  'answers.out': ['“{whom}”{more} attends to', '“{whom}”{more}关注'],
  'answers.in': ['“{whom}”{more} is attended to by', '关注“{whom}”{more}的词元'],
  'answers.more': [' and {n} more', '及另外 {n} 处'],
  'answers.back': ['Back', '返回'],
  'caption.row': ['The weights of this row sum to {total}', '本行权重之和为 {total}'],
  'caption.rest.sink-logit': ['the remaining weight goes to a sink logit, which has no value vector', '其余权重归于没有值向量的汇点 logit'],
  'caption.rest.independent': [
    'each weight is computed independently, so a row may have any sum; the difference from one is not given to any token',
    '每个权重独立计算，因此一行之和可为任意值，与 1 的差额不分给任何词元',
  ],
  'caption.rest.after': [
    'weights are scaled after normalisation, so a row need not sum to one; the difference from one is not given to any token',
    '权重在归一化之后又经缩放，因此一行之和未必为 1，与 1 的差额不分给任何词元',
  ],
  'caption.mean': ['This is the mean of {n} rows; its weights sum to {total}', '这是 {n} 行的平均，其权重之和为 {total}'],
  'caption.in': [
    'A column has the weight that every query gives to this key and need not sum to one: here it sums to {total}',
    '一列是所有查询对该键的权重，其和不必为 1，此处为 {total}',
  ],
  'caption.value': [
    'Each weight times the norm of its value vector: the size of each key’s contribution to the output of the head, not a share',
    '权重乘以值向量的范数：各键对该头输出的贡献大小，不是占比',
  ],
  'caption.output': [
    'Each weight times the norm of its value vector after the output projection: not a share',
    '权重乘以值向量经输出投影后的范数：不是占比',
  ],
  'caption.sink-mark': ['attention sinks receive {share}', '其中注意力汇点为 {share}'],
  'caption.sink-mark.alone': ['attention sinks receive {share}', '注意力汇点占 {share}'],
  'caption.sink-hide': ['attention sinks are hidden and receive another {share}', '注意力汇点已隐藏，另占 {share}'],
  'caption.sink-renorm': [
    'attention sinks ({share}) are removed and the rest is scaled to one',
    '已去除注意力汇点（{share}），其余重新归一化',
  ],
  'caption.sink-renorm.alone': [
    'attention sinks ({share}) are removed and the rest is divided by one minus that share',
    '已去除注意力汇点（{share}），其余除以 1 减去该占比',
  ],
  'caption.words': ['the tokens of a word are summed', '同一词的各词元相加'],
  'caption.top-k': ['only the heaviest keys are known, and their weights are exact', '只知道权重最大的若干个键，其权重精确'],
  'caption.top-k.several': [
    'only keys that are among the heaviest of every row are known, and their weights are exact',
    '只知道在每一行中权重都属最大之列的键，其权重精确',
  ],
  'caption.quantised': ['the weights are stored at low precision, with a maximum error of {error}', '以低精度存储，最大误差 {error}'],
  'caption.sampled': ['computed from sampled rows', '由抽样的行计算'],
  'caption.join': ['; ', '；'],
  'caption.end': ['.', '。'],
  table: ['Show as a table', '以表格显示'],
  position: ['Position', '位置'],
  token: ['Token', '词元'],
  weight: ['Weight', '权重'],
  head: ['Head', '头'],
  memory: ['memory', '记忆'],
  sink: ['Sink', '汇点'],
  loading: ['Loading …', '加载中…'],
  close: ['Close', '关闭'],
  previous: ['Previous', '上一个'],
  next: ['Next', '下一个'],
  command: ['To get it, run: {command}', '如需此项，请运行：{command}'],
  'list.comma': [', ', '、'],
  pinned: ['Pinned', '已固定'],

  'map.label': ['Attention map: queries down, keys across', '注意力矩阵图：纵轴为查询，横轴为键'],
  'map.pool': ['Cell', '单元格'],
  'map.axes': ['Columns', '列'],
  'map.axes.key': ['key', '键'],
  'map.axes.key.title': ['Keys across', '横轴为键'],
  'map.axes.offset': ['key − query', '键 − 查询'],
  'map.axes.offset.title': [
    'Offset of the key from its query: nearby attention becomes a readable band',
    '键相对查询的偏移：邻近的注意力成为一条便于阅读的带',
  ],
  'map.caption.near': [
    '{head}: queries down ({queries}), offset of the key from the query across, from {back} before to {ahead} after; each cell covers {cell} × {across} weights.',
    '{head}：纵轴为查询（{queries}），横轴为键相对查询的偏移，从前 {back} 到后 {ahead}；每格包含 {cell} × {across} 个权重。',
  ],
  'map.max': ['max', '最大'],
  'map.max.title': ['Each cell shows its largest weight', '每格显示其中最大的权重'],
  'map.mean': ['mean', '平均'],
  'map.mean.title': ['Each cell shows the mean over its visible pairs', '每格显示其中可见词元对的平均权重'],
  'map.in': ['Zoom in (+)', '放大 (+)'],
  'map.out': ['Zoom out (−)', '缩小 (−)'],
  'map.fit': ['Show all (0)', '显示全部 (0)'],
  'map.how': [
    'Point at a cell to read its weight; click to select the pair, turn the wheel to zoom.',
    '指向单元格可读取权重；点击选定该词元对，滚轮缩放。',
  ],
  'map.hidden': ['hidden by the mask', '被掩码遮住'],
  'map.caption': [
    '{head}: queries down ({queries}), keys across ({keys}); each cell is one weight.',
    '{head}：纵轴为 {queries} 个查询，横轴为 {keys} 个键；每格是一个权重。',
  ],
  'map.caption.pooled': [
    '{head}: queries down ({queries}), keys across ({keys}); in the whole map, each cell covers {cell} × {cell} weights.',
    '{head}：纵轴为 {queries} 个查询，横轴为 {keys} 个键；显示全图时每格包含 {cell} × {cell} 个权重。',
  ],
  'map.table.cells': ['Each cell is one weight of the part that the map shows.', '每格为图中所示部分的一个权重。'],
  'map.table.parts': [
    'Each cell is the largest of up to {down} × {across} weights; the headings name the tokens. Zoom in to see single weights.',
    '每格为至多 {down} × {across} 个权重中的最大值，表头列出所含词元。放大后可查看单个权重。',
  ],
  'map.table.error': ['The values are read from the picture (≈); the largest error is {error}.', '数值取自图像（≈），最大误差为 {error}。'],

  'atlas.label': ['Head atlas', '注意力头图谱'],
  'atlas.frame': ['Heads, scrollable', '注意力头列表，可滚动'],
  'atlas.toggle': ['Show or hide the atlas', '显示或隐藏图谱'],
  'atlas.sort': ['Order', '排序'],
  'atlas.by-layer': ['layer and head', '层与头'],
  'atlas.filter': ['At least', '不低于'],
  'atlas.how': [
    'Point at a head to preview it, click to pin it, double-click to show only this head.',
    '指向某个头可预览，点击可固定，双击则只显示此头。',
  ],
  'atlas.caption': [
    'Every head on this text, layers down and heads across; the scores show what kind of head it is.',
    '各头在本文上的表现：纵轴为层，横轴为头，得分表明其类型。',
  ],
  'atlas.table': ['Scores of every head on this text', '每个头在本文上的得分'],
  'score.previous': ['previous', '前一词'],
  'score.first': ['first', '首词'],
  'score.self': ['self', '自身'],
  'score.local': ['local', '局部'],
  'score.delimiter': ['delimiter', '分隔符'],
  'score.duplicate': ['duplicate', '重复词'],
  'score.induction': ['induction', '归纳'],
  'score.retrieval': ['retrieval', '检索'],
  'score.broad': ['broad', '分散'],
  'score.distance': ['distance', '距离'],
  'define.previous': ['previous: mean weight on the token just before the query.', '前一词：查询对其前一个词元的平均权重。'],
  'define.first': [
    'first: mean weight on the first token, the usual attention sink.',
    '首词：对第一个词元（常见的注意力汇点）的平均权重。',
  ],
  'define.self': ['self: mean weight of a token on itself.', '自身：词元对自身的平均权重。'],
  'define.local': [
    'local: mean weight on the query’s token and the four tokens on either side of it.',
    '局部：对查询词元及其前后各四个词元的平均权重。',
  ],
  'define.delimiter': [
    'delimiter: mean weight on punctuation and special tokens, the query’s own token excluded.',
    '分隔符：对标点与特殊词元（不含查询词元自身）的平均权重。',
  ],
  'define.duplicate': ['duplicate: mean weight on other occurrences of the query’s token.', '重复词：对查询词元其他出现处的平均权重。'],
  'define.induction': [
    'induction: mean weight on tokens that follow another occurrence of the query’s token.',
    '归纳：对紧跟在查询词元其他出现之后的词元的平均权重。',
  ],
  'define.retrieval': [
    'retrieval: mean weight on tokens equal to the token after the query, which a copying head would attend to.',
    '检索：对与查询的下一个词元相同的词元的平均权重，复制头即关注这些词元。',
  ],
  'define.broad': [
    'broad: entropy of the rows divided by its largest possible value; 1 is uniform.',
    '分散：各行的熵与其最大可能值之比，1 表示均匀。',
  ],
  'define.distance': [
    'distance: mean distance from the query to the keys in tokens, weighted by attention.',
    '距离：查询到键的平均距离（词元数），以注意力加权。',
  ],
  'span.label': ['Spans', '选段'],
  'span.q': ['select rows', '选择行'],
  'span.q.title': ['The next clicks in the text select the rows (queries)', '接下来在文本中的点击选择行（查询）'],
  'span.k': ['select keys', '选择键'],
  'span.k.title': ['The next clicks in the text select the keys', '接下来在文本中的点击选择键'],
  'span.clear': ['clear', '清除'],
  'span.how': [
    'Select rows and keys to see how much of the rows’ attention each head gives to the keys.',
    '选择行与键，查看每个头把这些行的注意力分给这些键的比例。',
  ],

  traces: ['Choose a trace', '选择记录'],
  gallery: ['All questions', '全部问题'],
  'gallery.title': ['Back to the questions (g)', '返回问题列表 (g)'],
  'gallery.heading': ['Choose a question', '选择一个问题'],
  'gallery.how': [
    'Each card shows a model, its input and its answer. Open one to see what the model attended to; every weight of every head is there.',
    '每张卡片展示一个模型、它的输入和回答。打开后可以看到模型关注了什么；所有注意力头的全部权重都在其中。',
  ],
  'gallery.more': ['More questions', '更多问题'],
  'gallery.label': ['Questions to choose from', '可供选择的问题'],
  'gallery.look': ['What to look for:', '看点：'],
  family: ['Kind of attention', '注意力类型'],
  'family.encoder': ['encoder self-attention', '编码器自注意力'],
  'family.decoder': ['decoder self-attention', '解码器自注意力'],
  'family.cross': ['cross-attention', '交叉注意力'],

  'pins.label': ['Pinned heads', '已固定的头'],
  'pins.front': ['Bring to the front', '移到最前'],
  'pins.remove': ['Unpin {head}', '取消固定 {head}'],
  direction: ['Direction', '方向'],
  'direction.out': ['attends to', '关注'],
  'direction.out.title': ['A row: what this token attends to; it usually sums to one (x)', '一行：该词元关注哪些词元，和通常为 1 (x)'],
  'direction.in': ['attended by', '被关注'],
  'direction.in.title': ['A column: what attends to this token; it need not sum to one (x)', '一列：哪些词元关注该词元，和不必为 1 (x)'],
  'weight.raw': ['raw', '原始'],
  'weight.raw.title': ['The attention weight itself', '注意力权重本身'],
  'weight.value': ['× ‖v‖', '× ‖v‖'],
  'weight.value.title': ['Weighted by the norm of the value vector', '以值向量的范数加权'],
  'weight.output': ['× ‖v·Wₒ‖', '× ‖v·Wₒ‖'],
  'weight.output.title': ['Weighted by the norm of the value after the output projection W_O', '以值向量经输出投影 W_O 后的范数加权'],
  'sink.mark': ['mark', '标记'],
  'sink.mark.title': ['Mark attention sinks; they do not set the colour scale (s)', '标记注意力汇点，且不影响颜色刻度 (s)'],
  'sink.hide': ['hide', '隐藏'],
  'sink.hide.title': ['Hide attention sinks; their share is still printed (s)', '隐藏注意力汇点，仍列出其占比 (s)'],
  'sink.renorm': ['remove', '去除'],
  'sink.renorm.title': ['Remove attention sinks and renormalise the rows (s)', '去除注意力汇点后各行重新归一化 (s)'],
  words: ['words', '按词'],
  'words.title': [
    'Words instead of tokens: the weights of a word’s tokens are summed, and its query rows are averaged',
    '以词代替词元：词内各词元的权重相加，查询行取平均',
  ],

  'badge.name.exact': ['exact', '精确'],
  'badge.name.sampled': ['sampled', '抽样'],
  'badge.name.top-k': ['top-k', '前 k 项'],
  'badge.name.quantised': ['quantised', '量化'],
  'badge.exact': ['Recomputed from Q and K in f32: no approximation.', '由 Q 与 K 以 f32 重新计算，没有近似。'],
  'badge.sampled': ['Computed from sampled rows; the exact map follows.', '由抽样的行计算，精确结果随后给出。'],
  'badge.top-k': ['Only the heaviest keys are known, and their weights are exact.', '只知道权重最大的若干个键，其权重精确。'],
  'badge.quantised': ['Stored at low precision: every number is marked with ≈.', '以低精度存储，所有数字都标有 ≈。'],
  'badge.error': ['Largest error: {error}.', '最大误差：{error}。'],

  search: ['Search', '搜索'],
  'search.placeholder': ['Search text, #1204, L5.H3 …', '搜索文本、#1204、L5.H3…'],
  'search.title': [
    'Text, /regex/, #position, a head like L5.H3, or seg:name (press /)',
    '文本、/正则/、#位置、头（如 L5.H3）或 seg:名称（按 /）',
  ],
  language: ['中文', 'English'],
  'language.title': ['界面改为中文', 'Interface in English'],
  link: ['Copy link', '复制链接'],
  'link.title': ['Copy a link to the current state (c)', '复制指向当前状态的链接 (c)'],
  'link.done': ['Link copied', '链接已复制'],
  'link.state': ['State copied: pass it to clearhead view --state', '状态已复制，可传给 clearhead view --state'],
  export: ['Export', '导出'],
  'export.title': ['Export the current view (p)', '导出当前视图 (p)'],
  'export.intro': [
    'Saves the current view as a file that contains the command to reproduce it.',
    '将当前视图存为文件，其中附有重现它的命令。',
  ],
  'export.svg': ['A figure for print, with real text', '供印刷的矢量图，文字保持为文字'],
  'export.pdf': ['The same figure as PDF', '同一图形，PDF 格式'],
  'export.tikz': ['The same figure for LaTeX', '同一图形，供 LaTeX 使用'],
  'export.print': ['The same figure as an image, 300 dots per inch', '同一图形，300 dpi 图片'],
  'export.png': ['What the screen shows, with a caption', '屏幕所见的图片，附说明'],
  'export.json': ['The numbers behind the view', '视图背后的数字'],
  'export.npy': ['The same for NumPy', '同上，供 NumPy 使用'],
  'export.csv': ['The same for spreadsheets', '同上，供电子表格使用'],
  'export.html': ['A single page that works offline', '可离线使用的单个页面'],
  'export.again': ['Command that reproduces this view:', '重现当前视图的命令：'],
  'export.done': ['Saved as {name}.', '已保存为 {name}。'],
  'export.top-only': [
    'This page contains only the heaviest keys of this row; NPY needs all of them.',
    '本页只含此行中权重最大的键，NPY 需要全部。',
  ],
  verify: ['Verify', '验证'],
  'verify.title': ['Recompute the visible weights eagerly, in double precision', '以双精度直接重算屏幕上的权重'],
  'verify.what': ['Recomputes the visible weights eagerly, in double precision, and compares.', '以双精度逐项重算屏幕上的权重并比较。'],
  'verify.busy': ['Recomputing …', '正在重算…'],
  'verify.good': [
    'Checked {checked} of {of} weights in {seconds} s. The largest difference is {difference}, at {at}; allowed: {bound}.',
    '已在 {seconds} 秒内检查 {of} 个权重中的 {checked} 个。最大差为 {difference}，位于 {at}；允许 {bound}。',
  ],
  'verify.bad': [
    'Checked {checked} of {of} weights: the largest difference is {difference}, at {at}, beyond the allowed {bound}.',
    '已检查 {of} 个权重中的 {checked} 个：最大差 {difference}，位于 {at}，超出允许的 {bound}。',
  ],
  run: ['Run', '运行'],
  'run.title': ['Run the model on another text', '在另一段文本上运行模型'],
  'run.text': ['Text', '文本'],
  'run.pair': ['Second segment (optional)', '第二段（可选）'],
  'run.go': ['Run', '运行'],
  'run.limit': ['This model accepts up to {n} tokens.', '此模型最多接受 {n} 个词元。'],
  help: ['Help', '帮助'],
  'help.title': ['Keyboard shortcuts and contents of this page (?)', '快捷键与本页内容 (?)'],
  'help.intro': [
    'Point to preview, click to pin, double-click a head to show only that head. Colour shows the amount: pale is little, deep is much.',
    '指向可预览，点击可固定，双击某个头则只显示该头。颜色深浅表示大小：浅为小，深为大。',
  ],
  'help.here': ['Shown here', '当前内容'],
  'help.size': ['{layers} layers × {heads} heads, {tokens} tokens', '{layers} 层 × {heads} 头，{tokens} 个词元'],
  'help.missing': ['Not available here', '此处不可用的内容'],
  'help.keys': [
    '← →\ttoken\n↑ ↓\tline\nAlt+← Alt+→\thead\nAlt+↑ Alt+↓\tlayer\nShift+→\textend the span\nEnter\tpin\nSpace\tplay the timeline\nx\tswitch the direction\ns\tsink rule\nr l m a v n\tread, lines, map, atlas, model view, neuron view\nw e d\twhy, what if, compare\ng\tall questions, if there are several\nPgUp PgDn\tprevious, next question\nf\tpresentation mode: large type, full screen\nt\tguided tour\n/\tsearch\nc\tcopy link\np\texport\n+ − 0\tzoom the map\nEsc\tback',
    '← →\t词元\n↑ ↓\t行\nAlt+← Alt+→\t头\nAlt+↑ Alt+↓\t层\nShift+→\t扩展选段\nEnter\t固定\nSpace\t播放时间线\nx\t切换方向\ns\t汇点规则\nr l m a v n\t阅读、连线、矩阵图、图谱、模型总览、神经元视图\nw e d\t为何、假如、比较\ng\t全部问题（若有多个）\nPgUp PgDn\t上一个、下一个问题\nf\t演示模式：大字号、全屏\nt\t导览\n/\t搜索\nc\t复制链接\np\t导出\n+ − 0\t缩放矩阵图\nEsc\t返回',
  ],
  'banner.other': [
    'This link was made for another text: its selection and edits are ignored.',
    '此链接针对另一段文本：其选择与改动已忽略。',
  ],
  'banner.stale': [
    'Another window ran the model on another text: this server now answers for that text.',
    '另一窗口已在此服务器上运行了别的文本：新的请求针对那段文本。',
  ],
  'banner.reload': ['Show the new text', '显示新文本'],
  'banner.offline': ['This page contains {holds}.', '本页面包含{holds}。'],
  'banner.lacks': ['Not included: {lacks}.', '未包含：{lacks}。'],
  'banner.rest': ['To include everything, run:', '若要包含全部内容，请运行：'],
  'banner.more': ['Details', '详情'],
  'holds.always': ['the text, the statistics and thumbnails of every head', '文本、各头的统计与缩略图'],
  'holds.exact': ['all weights, exactly (f32)', '全部权重（f32，精确）'],
  'holds.weights': ['all weights (≈, one byte each)', '全部权重（≈，每个一字节）'],
  'holds.overview': ['maps of the pinned and highest-scoring heads (≈)', '已固定的头与主要头的矩阵图（≈）'],
  'holds.near': ['maps of the same heads with key − query on the horizontal axis (≈)', '这些头以“键 − 查询”为横轴的矩阵图（≈）'],
  'holds.top': ['the keys with the largest weights in the selected and the last rows, exactly', '选中的行与末尾各行中权重最大的键（精确）'],
  'holds.top8': ['the top eight keys of all rows, exactly', '所有行的前八个键（精确）'],
  'holds.qk': [
    'the saved query rows of the pinned heads (≈, from rounded Q and K)',
    '已固定的头中所保存的查询行（≈，由舍入后的 Q 与 K 计算）',
  ],
  'feature.row': ['some rows', '部分行'],
  'feature.column': ['columns', '列'],
  'feature.tile': ['fine tiles of the map', '矩阵图的高分辨率图块'],
  'feature.overview': ['maps', '矩阵图'],
  'feature.atlas': ['the atlas', '图谱'],
  'feature.mass': ['attention between any two spans', '任意选段之间的注意力'],
  'feature.verify': ['verification', '验证'],
  'feature.run': ['running the model', '运行模型'],
  'feature.export': ['offline export', '离线导出'],
  'feature.value': ['value-weighted attention', '值加权的注意力'],
  'feature.output': ['output-weighted attention', '输出加权的注意力'],
  'feature.weights': ['all weights', '全部权重'],
  'missing.q-not-kept': ['The trace does not contain the query vectors that this needs.', '记录中没有所需的查询向量。'],
  'missing.v-not-kept': ['The trace does not contain the norms of the value vectors.', '记录中没有值向量的范数。'],
  'missing.no-model': ['There is no model here: this is a trace or an offline page.', '此处没有模型：这是记录或离线页面。'],
  'missing.layers-not-kept': ['The trace does not contain these layers.', '记录中没有这些层。'],
  'missing.not-in-page': ['This page does not contain it.', '本页未包含。'],
  'missing.over-budget': ['Left out to keep the page within its size limit.', '为控制页面大小而省略。'],
  'lines.label': ['Attention as curves from queries to keys', '以曲线表示由查询到键的注意力'],
  'lines.frame': ['Queries and keys, scrollable', '查询与键，可滚动'],
  'lines.query': ['Query', '查询'],
  'lines.key': ['Key', '键'],
  'lines.earlier': ['Earlier tokens', '靠前的词元'],
  'lines.later': ['Later tokens', '靠后的词元'],
  'lines.caption': [
    'Queries on the left, keys on the right; the {n} heaviest curves in view carry {share} of the weight that {head} gives in these {rows} rows.',
    '左为查询，右为键；显示权重最大的 {n} 条曲线，占 {head} 在这 {rows} 行中全部权重的 {share}。',
  ],
  'lines.caption.plain': [
    'Queries on the left, keys on the right; the {n} heaviest curves in view.',
    '左为查询，右为键；显示权重最大的 {n} 条曲线。',
  ],
  'lines.table': ['Heaviest curves in view', '所示曲线中权重最大者'],
  'resize.side': ['Width of the side panel', '侧栏宽度'],
  'resize.list': ['Height of the upper panel', '上方面板高度'],
} as const satisfies Record<string, readonly [string, string]>;

export type Language = 'en' | 'zh';

/** A function from a key to its string in one language. */
export interface Strings {
  (key: string, values?: Record<string, string | number>): string;
  readonly language: Language;
  missing(code: MissingCode): string;
  /** Translates a progress message of the engine; unknown messages are returned unchanged. */
  progress(what: string): string;
  /** The display name of a kind of items; an unknown kind is returned unchanged. */
  kind(kind: string): string;
  /** The display name of an attribution method; other names are returned unchanged. */
  method(name: string): string;
  /** The description of an attribution method. */
  description(method: Method): string;
  /** The display name of a part of the text that a model names; other names are the user's, and returned unchanged. */
  part(name: string): string;
}

export function strings(language: Language): Strings {
  const translate = (key: string, values: Record<string, string | number> = {}): string => {
    const entry = (kTable as Record<string, readonly [string, string]>)[key];
    if (!entry) throw new Error(`no string "${key}"`);
    return entry[language === 'en' ? 0 : 1].replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
  };
  const inChinese = (name: string): readonly [string, string] | undefined => (language === 'zh' ? kMethodsInChinese[name] : undefined);
  return Object.assign(translate, {
    language,
    method: (name: string) => inChinese(name)?.[0] ?? name,
    description: ({ name, what }: Method) => inChinese(name)?.[1] ?? what,
    missing: (code: MissingCode) => translate(`missing.${code}`),
    progress: (what: string) => {
      const layer = /^layer (\d+) of (\d+)$/.exec(what);
      if (layer) return translate('progress.layer', { n: layer[1], of: layer[2] });
      return `progress.${what}` in kTable ? translate(`progress.${what}`) : what;
    },
    part: (name: string) => (`part.${name}` in kTable ? translate(`part.${name}`) : name),
    kind: (kind: string) => (`kind.${kind}` in kTable ? translate(`kind.${kind}`) : kind),
  });
}

export const stringTable: Record<string, readonly [string, string]> = kTable;
