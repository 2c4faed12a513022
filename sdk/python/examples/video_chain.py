"""A chain of four actors that hand frames on: detector, tracker, speed, collector."""

import engine

engine.init()

FRAMES, SECONDS_PER_FRAME = 30, 0.1


@engine.remote(num_cpus=0)
class Detector:
    """Finds cars in a frame."""

    def __init__(self, following: engine.ActorHandle) -> None:
        self.following = following

    def process(self, number: int, frame: dict[str, float]) -> None:
        found = [{"car": name, "x": x} for name, x in frame.items() if x >= 0]
        self.following.process.remote(number, found)


@engine.remote(num_cpus=0)
class Tracker:
    """Follows each car from frame to frame."""

    def __init__(self, following: engine.ActorHandle) -> None:
        self.following = following
        self.last: dict[str, tuple[int, float]] = {}

    def process(self, number: int, found: list[dict[str, object]]) -> None:
        moves = []
        for one in found:
            car, x = str(one["car"]), float(one["x"])  # type: ignore[arg-type]
            if car in self.last:
                before, was = self.last[car]
                moves.append((car, number - before, x - was))
            self.last[car] = number, x
        self.following.process.remote(number, moves)


@engine.remote(num_cpus=0)
class Speed:
    """Makes speeds of moves."""

    def __init__(self, following: engine.ActorHandle) -> None:
        self.following = following

    def process(self, number: int, moves: list[tuple[str, int, float]]) -> None:
        speeds = {car: way / (frames * SECONDS_PER_FRAME) for car, frames, way in moves}
        self.following.collect.remote(number, speeds)


@engine.remote(num_cpus=0)
class Collector:
    """Keeps the fastest of each."""

    def __init__(self) -> None:
        self.frames = 0
        self.fastest: dict[str, float] = {}

    def collect(self, number: int, speeds: dict[str, float]) -> None:
        self.frames += 1
        for car, speed in speeds.items():
            self.fastest[car] = max(speed, self.fastest.get(car, 0.0))

    def result(self) -> tuple[int, dict[str, float]]:
        return self.frames, self.fastest


collector = Collector.remote()
detector = Detector.remote(Tracker.remote(Speed.remote(collector)))

for number in range(FRAMES):
    detector.process.remote(number, {"red": 1.0 * number, "blue": 2.5 * number - 20})

frames = 0
while frames < FRAMES:
    frames, fastest = engine.get(collector.result.remote())
print(frames, "frames;", ", ".join(f"{car} {speed:.1f} m/s" for car, speed in sorted(fastest.items())))
