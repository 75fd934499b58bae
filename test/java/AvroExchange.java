import io.apicurio.registry.serde.avro.AvroKafkaDeserializer;
import io.apicurio.registry.serde.avro.AvroKafkaSerializer;
import io.apicurio.registry.serde.avro.DefaultAvroDatumProvider;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.DatumReader;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.EncoderFactory;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * The other side of an exchange of Avro records: a producer and a consumer in Java, with Apicurio's serializers in
 * Confluent's framing. Records come and go as lines of Avro's JSON encoding; beside each stand its bytes in the topic.
 *
 *   java -cp 'jars/*' AvroExchange.java produce BROKERS REGISTRY TOPIC SCHEMA-FILE   (lines from standard input)
 *   java -cp 'jars/*' AvroExchange.java consume BROKERS REGISTRY TOPIC SCHEMA-FILE
 *
 * REGISTRY is Apicurio's own interface, .../apis/registry/v3. The consumer reads what partition 0 holds as the schema of the
 * file, whatever it was written with.
 */
public class AvroExchange {
  private static Schema schema;
  private static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

  public static void main(String[] args) throws Exception {
    schema = new Schema.Parser().parse(Files.readString(Path.of(args[4])));
    Map<String, Object> serde =
        Map.of(
            "apicurio.registry.url", args[2],
            "apicurio.registry.auto-register", true,
            "apicurio.registry.avro-datum-provider", AsOurSchema.class.getName());
    Properties client = new Properties();
    client.put("bootstrap.servers", args[1]);
    client.put("isolation.level", "read_committed");
    if (args[0].equals("produce")) produce(client, serde, args[3]);
    else consume(client, serde, args[3]);
    // The registry's client has threads of its own.
    System.exit(0);
  }

  private static void produce(Properties client, Map<String, Object> serde, String topic) throws Exception {
    var values = new AvroKafkaSerializer<GenericRecord>();
    values.configure(serde, false);
    try (var producer = new KafkaProducer<>(client, new StringSerializer(), values)) {
      int n = 0;
      for (String line : new String(System.in.readAllBytes(), StandardCharsets.UTF_8).split("\n")) {
        GenericRecord record =
            new GenericDatumReader<GenericRecord>(schema).read(null, DecoderFactory.get().jsonDecoder(schema, line));
        producer.send(new ProducerRecord<>(topic, 0, "java-" + n++, record)).get();
      }
    }
  }

  private static void consume(Properties client, Map<String, Object> serde, String topic) throws Exception {
    var values = new AvroKafkaDeserializer<GenericRecord>();
    values.configure(serde, false);
    var partition = new TopicPartition(topic, 0);
    try (var consumer = new KafkaConsumer<>(client, new StringDeserializer(), new ByteArrayDeserializer())) {
      consumer.assign(List.of(partition));
      consumer.seekToBeginning(List.of(partition));
      long end = consumer.endOffsets(List.of(partition)).get(partition);
      while (consumer.position(partition) < end) {
        for (var record : consumer.poll(Duration.ofMillis(200))) {
          GenericRecord value = values.deserialize(topic, record.headers(), record.value());
          OUT.println(record.key() + "\t" + HexFormat.of().formatHex(record.value()) + "\t" + json(value));
        }
      }
    }
  }

  private static String json(GenericRecord value) throws Exception {
    var bytes = new ByteArrayOutputStream();
    var encoder = EncoderFactory.get().jsonEncoder(value.getSchema(), bytes);
    new GenericDatumWriter<GenericRecord>(value.getSchema()).write(value, encoder);
    encoder.flush();
    return bytes.toString(StandardCharsets.UTF_8);
  }

  /** Reads as the schema of the program, as a generated class would. */
  public static class AsOurSchema extends DefaultAvroDatumProvider<GenericRecord> {
    @Override
    public DatumReader<GenericRecord> createDatumReader(Schema writer) {
      return new GenericDatumReader<>(writer, schema);
    }
  }
}
