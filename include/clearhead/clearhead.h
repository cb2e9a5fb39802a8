// Room: umbrella.
// Includes every public header, for programs that use the library. The library itself includes the individual headers.
#pragma once

#include "clearhead/answers.h"
#include "clearhead/atlas.h"
#include "clearhead/attend.h"
#include "clearhead/compute.h"
#include "clearhead/data.h"
#include "clearhead/error.h"
#include "clearhead/generate.h"
#include "clearhead/look.h"
#include "clearhead/map.h"
#include "clearhead/model.h"
#include "clearhead/nn.h"
#include "clearhead/observer.h"
#include "clearhead/record.h"
#include "clearhead/residual_stream.h"
#include "clearhead/rule.h"
#include "clearhead/spec.h"
#include "clearhead/tensor.h"
#include "clearhead/tokenizer.h"
#include "clearhead/trace.h"
#include "clearhead/train.h"
