#include "net/loop.h"

#include <csignal>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace p2p::net {

std::string uv_text(int status) { return uv_strerror(status); }

Loop::Loop() {
  lookups_.emplace([this](std::function<void()> task) { post(std::move(task)); });
  P2P_CHECK(uv_loop_init(&loop_) == 0);
  wake_.data = this;
  P2P_CHECK(uv_async_init(&loop_, &wake_, [](uv_async_t* handle) {
              static_cast<Loop*>(handle->data)->run_posted();
            }) == 0);
  before_wait_.data = after_wait_.data = this;
  uv_prepare_init(&loop_, &before_wait_);
  uv_prepare_start(&before_wait_, [](uv_prepare_t* handle) {
    auto* self = static_cast<Loop*>(handle->data);
    self->run_posted();
    std::lock_guard lock(self->mutex_);
    if (!self->posted_.empty()) self->wake();  // by those tasks: the loop must not wait now
  });
  uv_check_init(&loop_, &after_wait_);
  uv_check_start(&after_wait_,
                 [](uv_check_t* handle) { static_cast<Loop*>(handle->data)->run_posted(); });
}

Loop::~Loop() {
  lookups_.reset();
  for (auto& signal : signals_) uv_close(reinterpret_cast<uv_handle_t*>(&signal->handle), nullptr);
  uv_close(reinterpret_cast<uv_handle_t*>(&wake_), nullptr);
  uv_close(reinterpret_cast<uv_handle_t*>(&before_wait_), nullptr);
  uv_close(reinterpret_cast<uv_handle_t*>(&after_wait_), nullptr);
  uv_run(&loop_, UV_RUN_DEFAULT);
  P2P_CHECK(uv_loop_close(&loop_) == 0);
}

void Loop::run() {
  runs_on_ = std::this_thread::get_id();
  uv_run(&loop_, UV_RUN_DEFAULT);
  runs_on_ = std::thread::id();
}

void Loop::stop() { uv_stop(&loop_); }

void Loop::post(std::function<void()> task) {
  bool first;
  {
    std::lock_guard lock(mutex_);
    first = posted_.empty();
    posted_.push_back(std::move(task));
  }
  if (first && runs_on_ != std::this_thread::get_id()) wake();
}

void Loop::wake() { uv_async_send(&wake_); }

void Loop::run_posted() {
  std::vector<std::function<void()>> tasks;
  {
    std::lock_guard lock(mutex_);
    if (posted_.empty()) return;
    tasks.swap(posted_);
  }
  for (auto& task : tasks) task();
}

Time Loop::now() { return Time(Duration(static_cast<Duration::rep>(uv_hrtime()))); }

void Loop::work(std::function<void()> job, std::function<void()> done) {
  struct Work {
    uv_work_t request;
    std::function<void()> job, done;
  };
  auto* work = new Work{{}, std::move(job), std::move(done)};
  work->request.data = work;
  const int status = uv_queue_work(
      &loop_, &work->request, [](uv_work_t* request) { static_cast<Work*>(request->data)->job(); },
      [](uv_work_t* request, int) {
        std::unique_ptr<Work> finished(static_cast<Work*>(request->data));
        finished->done();
      });
  P2P_CHECK(status == 0);
}

void Loop::resolve(const HostPort& target,
                   std::function<void(Result<std::vector<Endpoint>>)> done) {
  if (auto address = IpAddress::parse(target.host)) {
    post([done = std::move(done), endpoint = Endpoint{*address, target.port}] {
      done(std::vector{endpoint});
    });
    return;
  }
  lookups_->start(target, std::move(done));
}

void Loop::on_termination(std::function<void(int)> handler) {
  on_signal(SIGINT, handler);
  on_signal(SIGTERM, std::move(handler));
}

void Loop::on_signal(int number, std::function<void(int)> handler) {
  auto& signal = signals_.emplace_back(std::make_unique<Signal>());
  signal->handler = std::move(handler);
  P2P_CHECK(uv_signal_init(&loop_, &signal->handle) == 0);
  signal->handle.data = signal.get();
  uv_signal_start(
      &signal->handle,
      [](uv_signal_t* handle, int caught) { static_cast<Signal*>(handle->data)->handler(caught); },
      number);
}

struct Timer::State {
  uv_timer_t timer;
  std::function<void()> on_due;
  Time deadline = kNever;
};

Timer::Timer(Loop& loop, std::function<void()> on_due) : state_(new State{{}, std::move(on_due)}) {
  P2P_CHECK(uv_timer_init(loop.raw(), &state_->timer) == 0);
  state_->timer.data = state_;
}

Timer::~Timer() {
  uv_close(reinterpret_cast<uv_handle_t*>(&state_->timer),
           [](uv_handle_t* handle) { delete static_cast<State*>(handle->data); });
}

void Timer::arm(Time deadline) {
  // Shells arm after every message, mostly for the same time.
  if (std::exchange(state_->deadline, deadline) == deadline) return;
  if (deadline == kNever) {
    uv_timer_stop(&state_->timer);
    return;
  }
  const Duration left = deadline - Loop::now();
  // Up to the next millisecond, or the timer would fire before the deadline and be armed again.
  const auto milliseconds =
      left <= Duration::zero() ? 0 : std::chrono::ceil<std::chrono::milliseconds>(left).count();
  // The loop's own time may be old by now.
  uv_update_time(state_->timer.loop);
  uv_timer_start(
      &state_->timer,
      [](uv_timer_t* timer) {
        auto* state = static_cast<State*>(timer->data);
        state->deadline = kNever;
        state->on_due();
      },
      static_cast<std::uint64_t>(milliseconds), 0);
}

}  // namespace p2p::net
