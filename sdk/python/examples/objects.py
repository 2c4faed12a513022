"""A value that is put once, passed as a reference to several tasks, and got."""

import engine

engine.init()


@engine.remote
def total(matrix: list[list[float]]) -> float:
    return sum(map(sum, matrix))


@engine.remote
def row(matrix: list[list[float]], index: int) -> list[float]:
    return matrix[index]


matrix = [[float(10 * i + j) for j in range(10)] for i in range(10)]
matrix_ref = engine.put(matrix)

# The reference goes into the call, and arrives as the matrix.
print(engine.get(total.remote(matrix_ref)))

# A result is a reference too: the second task starts when the first has ended.
row_ref = row.remote(matrix_ref, 3)
print(engine.get(total.remote([engine.get(row_ref)])))

assert engine.get(matrix_ref) == matrix
