// The order of sums over parts and processes. tests/cli/train_processes_test.py tests the real communication between processes.
#include "comm/comm.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

namespace clearhead {
namespace {

// Writes the order in which tree_sum adds these numbers, with brackets.
std::string order_of(const std::vector<std::string>& numbers) {
  std::map<int, std::string> kept;
  std::string sum;
  for (size_t at = 0; at < numbers.size(); ++at) {
    sum = numbers[at];
    tree_sum(
        static_cast<int64_t>(at), static_cast<int64_t>(numbers.size()), [&](int level) { sum = "(" + kept.at(level) + " " + sum + ")"; },
        [&](int level) { kept[level] = sum; });
  }
  return sum;
}

std::vector<std::string> numbers(int first, int count) {
  std::vector<std::string> out;
  for (int at = first; at < first + count; ++at) out.push_back(std::to_string(at));
  return out;
}

TEST(TreeSum, AddsNeighboursThenTheirSums) {
  EXPECT_EQ(order_of(numbers(0, 1)), "0");
  EXPECT_EQ(order_of(numbers(0, 2)), "(0 1)");
  EXPECT_EQ(order_of(numbers(0, 3)), "((0 1) 2)");
  EXPECT_EQ(order_of(numbers(0, 4)), "((0 1) (2 3))");
  EXPECT_EQ(order_of(numbers(0, 7)), "(((0 1) (2 3)) ((4 5) 6))");
}

TEST(TreeSum, HasTheSameOrderWhenEachProcessAddsAPowerOfTwo) {
  for (int parts : {1, 2, 4, 8}) {
    for (int processes = 1; processes <= 6; ++processes) {
      std::vector<std::string> sums;
      for (int rank = 0; rank < processes; ++rank) sums.push_back(order_of(numbers(rank * parts, parts)));
      EXPECT_EQ(order_of(sums), order_of(numbers(0, parts * processes))) << processes << " processes with " << parts << " parts";
    }
  }
}

TEST(SingleProcessComm, SumsShiftsAndGathersItsOwnValues) {
  const std::shared_ptr<Comm> comm = alone();
  Tensor mine = Tensor::from<float>({1, 2}, {2}), next = Tensor::zeros({2});
  comm->sum({mine});
  comm->shift(mine, next);
  comm->wait();
  EXPECT_EQ(next.data<float>()[1], 2);
  EXPECT_EQ(comm->gather({3, 4}), (std::vector<std::vector<double>>{{3, 4}}));
  EXPECT_EQ(comm->bytes_sent(), 0);
}

}  // namespace
}  // namespace clearhead
