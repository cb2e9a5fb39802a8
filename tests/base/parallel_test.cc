// The guarantees of parallel_for: every item runs once, whichever threads call it or help; and the floating-point mode of its bodies.
#include "base/parallel.h"
#include "base/busy.h"

#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <limits>
#include <stdexcept>
#include <thread>
#include <vector>

namespace clearhead {
namespace {

float product_of_tiny_numbers() {
  volatile float a = 1e-20f, b = 1e-20f;
  return a * b;
}

float doubled(float tiny) {
  volatile float a = tiny;
  return a + a;
}

TEST(Parallel, SubnormalsAreZeroInEveryThreadAndTheCallersModeComesBack) {
  const float subnormal = std::numeric_limits<float>::denorm_min();
  for (const int64_t items : {1, 64}) {  // in the calling thread only, and in all threads
    std::atomic<int64_t> given{0}, taken{0};
    parallel_for(items, [&](int64_t, int) {
      given += product_of_tiny_numbers() == 0;
      taken += doubled(subnormal) == 0;
      parallel_for(2, [](int64_t, int) {});  // a nested call must not end the mode
      given += product_of_tiny_numbers() == 0;
    });
    EXPECT_EQ(given, 2 * items);
    EXPECT_EQ(taken, items);
    EXPECT_GT(product_of_tiny_numbers(), 0);
    EXPECT_GT(doubled(subnormal), 0);
  }
}

TEST(Parallel, EveryItemIsDoneOnceThoughManyCallAtOnce) {
  const int before = threads();
  set_threads(4);
  std::vector<std::thread> callers;
  std::atomic<int64_t> wrong{0};
  for (int caller = 0; caller < 3; ++caller) {
    callers.emplace_back([&] {
      for (int region = 0; region < 2000; ++region) {
        std::vector<std::atomic<int>> done(17);
        parallel_for(17, [&](int64_t item, int thread) {
          wrong += thread < 0 || thread >= 4;
          ++done[static_cast<size_t>(item)];
        });
        for (const std::atomic<int>& times : done) wrong += times != 1;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  set_threads(before);
  EXPECT_EQ(wrong, 0);
}

TEST(Parallel, ThreadsThatShareARegionHaveNumbersOfTheirOwn) {
  const int before = threads();
  set_threads(4);
  std::atomic<int> here[4]{};
  std::atomic<int64_t> wrong{0}, most{0};
  for (int region = 0; region < 200; ++region) {
    parallel_for(64, [&](int64_t, int thread) {
      wrong += ++here[thread] != 1;  // two threads with the same number would be detected here
      if (thread > most) most = thread;
      volatile int work = 0;
      for (int i = 0; i < 2000; ++i) work = work + i;
      --here[thread];
    });
  }
  set_threads(before);
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(most, 0) << "no thread helped in 200 regions";
}

TEST(Parallel, AnExceptionReachesTheCallerAndTheNextRegionRuns) {
  EXPECT_THROW(parallel_for(100,
                            [](int64_t item, int) {
                              if (item == 40) throw std::runtime_error("item 40");
                            }),
               std::runtime_error);
  std::atomic<int64_t> sum{0};
  parallel_for(100, [&](int64_t item, int) { sum += item; });
  EXPECT_EQ(sum, 4950);
}

TEST(Parallel, TheBusyCallbackRunsBetweenItemsAndCanStopTheLoop) {
  const int before = threads();
  for (const int count : {1, 2}) {
    set_threads(count);
    std::atomic<int> done{0};
    int asked = 0;
    {
      const CheckWhileBusy busy([&] {
        if (++asked == 2) throw std::runtime_error("enough");
      });
      const auto item = [&](int64_t, int) {
        ::usleep(1000);
        parallel_for(3, [&](int64_t, int) { ++done; });
      };
      EXPECT_THROW(parallel_for(10'000, item), std::runtime_error);
    }
    EXPECT_EQ(asked, 2);
    EXPECT_TRUE(count == 1 || done % 3 == 0) << "an item that another thread may wait for was only half done";
    EXPECT_LT(done, 3 * 5000);
    parallel_for(200, [&](int64_t, int) { ::usleep(500); });
    EXPECT_EQ(asked, 2) << "called after the end of the loop";
  }
  set_threads(before);
}

TEST(Parallel, AChildOfForkComputesWithThreadsOfItsOwn) {
  const int before = threads();
  set_threads(3);
  std::atomic<int> helped{0};
  const auto work = [&](int64_t, int thread) {
    helped += thread > 0;
    ::usleep(50);
  };
  while (helped < 100) parallel_for(100, work);  // the parent's threads run: a thread that is being created holds locks of a sanitizer
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(20);  // a child that waits for its parent's threads would wait forever
    helped = 0;
    while (helped == 0) parallel_for(100, work);
    ::_exit(0);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  set_threads(before);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

}  // namespace
}  // namespace clearhead
