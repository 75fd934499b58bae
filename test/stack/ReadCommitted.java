import java.io.BufferedOutputStream;
import java.io.DataOutputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Arguments: brokers, a directory, milliseconds, topics. Writes what Kafka's consumer sees of them with read_committed:
 * what comes while standard input is open, then the rest up to their ends. For each topic a file of records (committed.ts
 * reads it), and at last a file `ends`: topic, partition, first offset, last stable offset, high watermark. Once its
 * input has ended, it waits up to so many milliseconds until the last two agree.
 */
public class ReadCommitted {
  public static void main(String[] args) throws Exception {
    Path directory = Path.of(args[1]);
    long patienceMs = Long.parseLong(args[2]);
    Map<String, DataOutputStream> files = new HashMap<>();
    try (var consumer = consumer(args[0], "read_committed");
        var uncommitted = consumer(args[0], "read_uncommitted")) {
      List<TopicPartition> partitions = new ArrayList<>();
      for (int i = 3; i < args.length; i++) {
        if (consumer.partitionsFor(args[i]).isEmpty()) throw new IllegalArgumentException("no topic " + args[i]);
        consumer.partitionsFor(args[i]).forEach(at -> partitions.add(new TopicPartition(at.topic(), at.partition())));
        var file = new FileOutputStream(directory.resolve(args[i]).toFile());
        files.put(args[i], new DataOutputStream(new BufferedOutputStream(file, 1 << 16)));
      }
      consumer.assign(partitions);
      var starts = consumer.beginningOffsets(partitions);
      starts.forEach(consumer::seek);
      Thread ending = new Thread(ReadCommitted::untilInputEnds);
      ending.setDaemon(true);
      ending.start();
      while (ending.isAlive()) poll(consumer, files);
      var ends = consumer.endOffsets(partitions);
      var marks = uncommitted.endOffsets(partitions);
      long deadlineMs = System.currentTimeMillis() + patienceMs;
      while (!ends.equals(marks) && System.currentTimeMillis() < deadlineMs) {
        poll(consumer, files);
        marks = uncommitted.endOffsets(partitions);
        ends = consumer.endOffsets(partitions);
      }
      for (TopicPartition at : partitions) {
        while (consumer.position(at) < ends.get(at)) poll(consumer, files);
      }
      for (DataOutputStream file : files.values()) file.close();
      try (var out = new PrintStream(directory.resolve("ends").toFile(), StandardCharsets.UTF_8)) {
        for (TopicPartition at : partitions) {
          out.println(String.join("\t", at.topic(), "" + at.partition(), "" + starts.get(at), "" + ends.get(at), "" + marks.get(at)));
        }
      }
    }
  }

  private static KafkaConsumer<byte[], byte[]> consumer(String brokers, String isolation) {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", brokers);
    properties.put("isolation.level", isolation);
    properties.put("enable.auto.commit", "false");
    // Offsets that are gone are no reason to go on somewhere else.
    properties.put("auto.offset.reset", "none");
    properties.put("allow.auto.create.topics", "false");
    return new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer());
  }

  private static void untilInputEnds() {
    try {
      while (System.in.read() >= 0) {}
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  private static void poll(KafkaConsumer<byte[], byte[]> consumer, Map<String, DataOutputStream> files)
      throws IOException {
    for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
      DataOutputStream out = files.get(record.topic());
      out.writeInt(record.partition());
      out.writeLong(record.offset());
      out.writeLong(record.timestamp());
      write(out, record.key());
      write(out, record.value());
      Header[] headers = record.headers().toArray();
      out.writeInt(headers.length);
      for (Header header : headers) {
        write(out, header.key().getBytes(StandardCharsets.UTF_8));
        write(out, header.value());
      }
    }
  }

  private static void write(DataOutputStream out, byte[] bytes) throws IOException {
    out.writeInt(bytes == null ? -1 : bytes.length);
    if (bytes != null) out.write(bytes);
  }
}
