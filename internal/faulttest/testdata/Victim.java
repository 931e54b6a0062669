import java.io.FileOutputStream;
import java.io.RandomAccessFile;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.channels.FileLock;
import java.nio.channels.Pipe;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.SynchronousQueue;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;

/**
 * The JVM's part of victim.c: it checks itself without end. Usage: Victim DIR.
 * It appends what is wrong to DIR/errors and rewrites the rounds of each of its
 * threads in DIR/progress.
 */
public final class Victim {
	interface Round { void run() throws Exception; }

	static final long MS = 1_000_000, LATE = 20_000 * MS;
	static FileOutputStream errors;
	static final List<String> names = new ArrayList<>();
	static final List<AtomicLong> rounds = new ArrayList<>();

	static synchronized void fail(String text) {
		try {
			errors.write((text + "\n").getBytes());
		} catch (Exception e) {
			Runtime.getRuntime().halt(3);
		}
	}

	static void worker(String name, Round round) {
		AtomicLong count = new AtomicLong();
		names.add(name);
		rounds.add(count);
		Thread thread = new Thread(() -> {
			for (;; count.incrementAndGet()) {
				try {
					round.run();
				} catch (Throwable e) {
					fail(name + ": " + e);
					LockSupport.parkNanos(100 * MS);
				}
			}
		}, name);
		thread.setDaemon(true);
		thread.start();
	}

	static long general(int n) {
		long a = 1, b = 2, c = 3, d = 4, e = 5, f = 6;
		for (; n > 0; n--) {
			a += b ^ (c << 7);
			b = Long.rotateLeft(b, 13) + d;
			c ^= a * 0x9e3779b97f4a7c15L;
			d += e;
			e ^= f >>> 3;
			f += a * 5;
		}
		return a ^ b ^ c ^ d ^ e ^ f;
	}

	static double floats(int n) {
		double x = 1, y = 2, z = 3;
		for (; n > 0; n--) {
			x = x / 3 + y;
			y = Math.sqrt(z * z + 1);
			z = y / 1.5 + x / 7;
		}
		return x + y + z;
	}

	/** The compiler makes vector code of it. */
	static long vectors(int[] a, int[] b) {
		for (int i = 0; i < a.length; i++) {
			a[i] = i * 7;
			b[i] = i ^ 0x5a5a;
		}
		for (int k = 0; k < 20; k++) {
			for (int i = 0; i < a.length; i++) {
				a[i] = a[i] * 31 + b[i];
			}
		}
		long sum = 0;
		for (int x : a) {
			sum = sum * 31 + x;
		}
		return sum;
	}

	static void same(String what, Object got, Object want) {
		if (!got.equals(want)) {
			fail(what + ": " + got + ", want " + want);
		}
	}

	static void measured(String what, long start, long asked) {
		long took = System.nanoTime() - start;
		if (took < asked || took > asked + LATE) {
			fail(what + ": took " + took + " ns instead of " + asked);
		}
	}

	static void echo() throws Exception {
		ServerSocket server = new ServerSocket(0, 1, InetAddress.getLoopbackAddress());
		Socket client = new Socket(server.getInetAddress(), server.getLocalPort());
		Socket other = server.accept();
		server.close();
		byte[] out = new byte[700];
		long[] at = {0};
		worker("echo", () -> other.getOutputStream().write(other.getInputStream().readNBytes(700)));
		worker("client", () -> {
			for (int i = 0; i < out.length; i++, at[0]++) {
				out[i] = (byte) (at[0] ^ (at[0] >> 8) * 7);
			}
			client.getOutputStream().write(out);
			byte[] in = client.getInputStream().readNBytes(out.length);
			if (!java.util.Arrays.equals(in, out)) {
				fail("echo: the bytes before " + at[0] + " came back otherwise");
			}
			Thread.sleep(1);
		});
	}

	static void pipe() throws Exception {
		Pipe pipe = Pipe.open();
		int[] next = {0}, want = {0};
		worker("sender", () -> {
			ByteBuffer buf = ByteBuffer.allocate(4).putInt(next[0]++).flip();
			while (buf.hasRemaining()) {
				pipe.sink().write(buf);
			}
			Thread.sleep(1);
		});
		worker("receiver", () -> {
			ByteBuffer buf = ByteBuffer.allocate(4);
			while (buf.hasRemaining()) {
				pipe.source().read(buf);
			}
			same("pipe", buf.flip().getInt(), want[0]++);
		});
	}

	static void journal(Path dir) throws Exception {
		RandomAccessFile file = new RandomAccessFile(dir.resolve("journal").toFile(), "rw");
		long[] next = {0, 0};
		worker("journal", () -> {
			try (FileLock lock = file.getChannel().lock(1 << 20, 8, false)) {
				long at = (next[0] - next[1]) * 8;
				file.seek(at);
				file.writeLong(next[0]);
				file.seek(at);
				same("file", file.readLong(), next[0]++);
				same("length of the file", file.length(), at + 8);
				if (at == 512 * 8) {
					file.setLength(0);
					next[1] = next[0];
				}
			}
			Thread.sleep(3);
		});
	}

	static volatile Object kept;

	public static void main(String[] args) throws Exception {
		Path dir = Path.of(args[0]);
		errors = new FileOutputStream(dir.resolve("errors").toFile(), true);
		RandomAccessFile progress = new RandomAccessFile(dir.resolve("progress").toFile(), "rw");

		long wantGeneral = general(100_000);
		worker("general", () -> {
			same("general registers", general(100_000), wantGeneral);
			Thread.sleep(3);
		});
		double wantFloats = floats(20_000);
		worker("floats", () -> {
			same("floating point", floats(20_000), wantFloats);
			Thread.sleep(3);
		});
		int[] a = new int[4096], b = new int[4096];
		long wantVectors = vectors(a, b);
		worker("vectors", () -> {
			same("vector registers", vectors(a, b), wantVectors);
			Thread.sleep(3);
		});
		echo();
		pipe();
		journal(dir);
		worker("sleeper", () -> {
			long start = System.nanoTime();
			Thread.sleep(6);
			measured("sleep", start, 6 * MS - MS / 10);
			// It may return early, which is why only its end is looked at.
			LockSupport.parkNanos(4 * MS);
			measured("park", start, 0);
		});
		SynchronousQueue<Long> queue = new SynchronousQueue<>();
		long[] given = {0}, taken = {0};
		worker("giver", () -> {
			queue.put(given[0]++);
			Thread.sleep(2);
		});
		worker("taker", () -> same("queue", queue.take(), taken[0]++));
		worker("garbage", () -> {
			List<byte[]> made = new ArrayList<>();
			for (int i = 0; i < 200; i++) {
				byte[] block = new byte[2000 + i];
				block[i] = (byte) i;
				made.add(block);
			}
			for (int i = 0; i < 200; i++) {
				same("heap", made.get(i)[i], (byte) i);
			}
			kept = made;
			Thread.sleep(5);
		});
		worker("children", () -> {
			same("child", new ProcessBuilder("true").start().waitFor(), 0);
			Thread.sleep(500);
		});
		AtomicLong hangups = new AtomicLong();
		sun.misc.Signal.handle(new sun.misc.Signal("HUP"), signal -> hangups.incrementAndGet());
		names.add("hangups");
		rounds.add(hangups);
		for (;;) {
			StringBuilder text = new StringBuilder();
			for (int i = 0; i < names.size(); i++) {
				text.append(String.format("%-11s %11d%n", names.get(i), rounds.get(i).get()));
			}
			progress.seek(0);
			progress.write(text.toString().getBytes());
			Thread.sleep(5);
		}
	}
}
